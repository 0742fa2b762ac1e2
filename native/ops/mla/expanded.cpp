#include "expanded.h"

#include <algorithm>
#include <cstring>

#include "ops/attention/step.h"
#include "ops/linear/multiply.h"
#include "ops/linear/tiles.h"
#include "ops/mla/stretch.h"
#include "ops/mla/turned.h"

namespace {

constexpr int64_t span_keys = 4096;  // whose latents are kept in float32: 8 MB

// Scratch of one thread for one head's keys and values of a stretch.
class Stretch {
public:
    Stretch(const Mla& a, int64_t head) : mla_(a), values_up_(a.values_up(head)) {
        keys_up_ = a.up->split() ? turned(a.keys_up(head), &turned_space_) : a.keys_up(head);  // (nope, rank)
        keys_ = key_space_.get<float>(stretch_keys * a.dim());
        values_ = value_space_.get<float>(stretch_keys * a.v);
        if (!laid_out()) return;
        laid_keys_ = laid_key_space_.get<uint16_t>(stretch_words(a.dim()));
        laid_values_ = laid_value_space_.get<uint16_t>(stretch_words(a.v));
    }

    // in: latents; turned: (count, rope), the part of the keys that all heads share.
    void make(const Input& in, const float* turned) {
        count_ = static_cast<int>(in.T);
        multiply_here(keys_up_, in, keys_, mla_.dim());
        multiply_here(values_up_, in, values_, mla_.v);
        for (int64_t i = 0; i < in.T; ++i) std::memcpy(keys_ + i * mla_.dim() + mla_.nope, turned + i * mla_.rope, mla_.rope * sizeof(float));
        if (laid_out()) stretch_table()->lay_out(keys_, values_, count_, mla_.dim(), mla_.v, laid_keys_, laid_values_);
    }

    void attend(int64_t first, RowTile* tile, float* sums) const {
        if (laid_out()) return stretch_table()->attend({laid_keys_, laid_values_, count_, mla_.dim(), mla_.v}, first, mla_.scale, tile, sums);
        for (int64_t key = 0; key < count_ && first + key <= tile->last[tile->rows - 1]; key += tile_keys) {
            int keys = static_cast<int>(std::min<int64_t>(tile_keys, count_ - key));
            tile->attend(rows(keys_, key, mla_.dim(), keys), rows(values_, key, mla_.v, keys), first + key, mla_.dim(), mla_.v, mla_.scale, sums);
        }
    }

private:
    // Rounded, as the cache is, where dot products of that are the faster ones.
    bool laid_out() const { return mla_.pages.size() < 4 && stretch_table(); }

    static RowSet rows(const float* x, int64_t from, int64_t width, int count) {
        RowSet set;
        set.count = count, set.bfloat = false;
        for (int i = 0; i < count; ++i) set.rows[i] = reinterpret_cast<const uint8_t*>(x + (from + i) * width);
        return set;
    }

    static thread_local Workspace key_space_, value_space_, laid_key_space_, laid_value_space_, turned_space_;
    const Mla& mla_;
    Weight keys_up_, values_up_;
    float *keys_, *values_;
    uint16_t *laid_keys_ = nullptr, *laid_values_ = nullptr;
    int count_ = 0;
};

thread_local Workspace Stretch::key_space_, Stretch::value_space_, Stretch::laid_key_space_, Stretch::laid_value_space_, Stretch::turned_space_;

thread_local Workspace sum_space, latent_space, turned_space, chunk_space, tile_space;

void add_tiles(const Mla& a, int64_t sequence, int64_t head, std::vector<RowTile>* tiles) {
    for (int64_t t = a.batch.starts[sequence]; t < a.batch.starts[sequence + 1]; ++t) {
        if ((t - a.batch.starts[sequence]) % tile_rows == 0) tiles->emplace_back();
        tiles->back().add(a.q + (t * a.heads + head) * a.dim(), 0, a.batch.positions[t]);
    }
}

}  // namespace

Expanded::Expanded(const Mla& problem, int64_t sequence)
    : mla_(problem), sequence_(sequence), rows_(problem.batch.count(sequence)), length_(problem.batch.lengths[sequence]), stride_(padded(problem.v)) {
    for (int64_t head = 0; head < mla_.heads; ++head) add_tiles(mla_, sequence, head, &tiles_);
    int64_t keys = std::min(span_keys, length_);
    sums_ = sum_space.get<float>(mla_.heads * rows_ * stride_);
    std::fill_n(sums_, mla_.heads * rows_ * stride_, 0.0f);
    latents_ = latent_space.get<float>(keys * mla_.rank);
    turned_ = turned_space.get<float>(keys * mla_.rope);
    const bool rounded = is_block_format(mla_.keys_up(0).format) || is_block_format(mla_.values_up(0).format);
    chunks_ = rounded ? chunk_space.get<Chunk>(keys * chunk_stride(mla_.rank)) : nullptr;
    in_tiles_ = rounded && tile_table() && mla_.rank % tile_columns == 0 ? tile_space.get<uint16_t>(tiles_size(keys, mla_.rank)) : nullptr;
}

void Expanded::run() {
    for (int64_t first = 0; first < length_; first += span_keys) attend_span(first, std::min(span_keys, length_ - first));
    pool::parallel(mla_.heads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t head = begin; head < end; ++head) finish(head);
    });
}

void Expanded::attend_span(int64_t first, int64_t keys) {
    pool::Pieces reading(keys, 64), heads(mla_.heads, 1);
    pool::run([&](int, int) {
        for (int64_t begin, end; reading.next(begin, end);) {
            for (int64_t i = begin; i < end; ++i) read(first + i, i);
            if (in_tiles_) pack_tiles({latents_, nullptr, mla_.rank, end}, begin, end, in_tiles_);
            if (chunks_) prepare_here(latents_ + begin * mla_.rank, end - begin, mla_.rank, chunks_ + begin * chunk_stride(mla_.rank));
        }
        pool::barrier();
        for (int64_t head, end; heads.next(head, end);) head_over(head, first, keys);
    });
}

void Expanded::read(int64_t position, int64_t i) {
    mla_.pages.read(mla_.batch, sequence_, position, 0, mla_.rank, latents_ + i * mla_.rank);
    mla_.pages.read(mla_.batch, sequence_, position, mla_.rank, mla_.rope, turned_ + i * mla_.rope);
}

void Expanded::head_over(int64_t head, int64_t first, int64_t keys) {
    Stretch stretch(mla_, head);
    size_t tiles = tiles_.size() / mla_.heads;
    for (int64_t key = 0; key < keys; key += stretch_keys) {
        int64_t count = std::min<int64_t>(stretch_keys, keys - key);
        const Chunk* chunks = chunks_ ? chunks_ + key * chunk_stride(mla_.rank) : nullptr;
        const uint16_t* in_tiles = in_tiles_ ? in_tiles_ + key * mla_.rank : nullptr;
        stretch.make({latents_ + key * mla_.rank, chunks, mla_.rank, count, nullptr, in_tiles}, turned_ + key * mla_.rope);
        for (size_t i = 0; i < tiles; ++i)
            if (RowTile& tile = tiles_[head * tiles + i]; first + key <= tile.last[tile.rows - 1])
                stretch.attend(first + key, &tile, sums_ + (head * rows_ + static_cast<int64_t>(i) * tile_rows) * stride_);
    }
}

void Expanded::finish(int64_t head) const {
    size_t tiles = tiles_.size() / mla_.heads;
    for (int64_t i = 0; i < rows_; ++i) {
        const RowTile& tile = tiles_[head * tiles + i / tile_rows];
        const float* sums = sums_ + (head * rows_ + i / tile_rows * tile_rows) * stride_;
        tile.finish(static_cast<int>(i % tile_rows), sums, mla_.v, mla_.out + ((mla_.batch.starts[sequence_] + i) * mla_.heads + head) * mla_.v);
    }
}

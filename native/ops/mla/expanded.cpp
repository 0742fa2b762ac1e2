#include "expanded.h"

#include <algorithm>
#include <cstring>

#include "ops/attention/row_tile.h"
#include "ops/linear/multiply.h"
#include "workspace.h"

namespace {

constexpr int64_t stretch = 256;  // keys at a time: a matrix is unpacked once for so many, and they stay in L2

// One head's keys and values of a stretch, float32.
class Stretch {
public:
    Stretch(const Mla& a, int64_t head) : mla_(a), keys_up_(a.keys_up(head)), values_up_(a.values_up(head)), narrowed_(a.pages.bfloat && attention_table().bfloat_dot) {
        if (a.up->split()) transpose_keys_up();
        latents_ = latent_space_.get<float>(stretch * a.rank);
        keys_ = key_space_.get<float>(stretch * a.dim());
        values_ = value_space_.get<float>(stretch * a.v);
        if (narrowed_) narrow_keys_ = narrow_key_space_.get<uint16_t>(stretch * a.dim());
        if (narrowed_) narrow_values_ = narrow_value_space_.get<uint16_t>(stretch * a.v);
    }

    void make(int64_t sequence, int64_t first, int64_t count) {
        for (int64_t i = 0; i < count; ++i) read(sequence, first + i, i);
        Input in{latents_, nullptr, mla_.rank, count};
        if (is_block_format(keys_up_.format) || is_block_format(values_up_.format)) in.chunks = rounded(in);
        multiply_here(keys_up_, in, keys_, mla_.dim());
        multiply_here(values_up_, in, values_, mla_.v);
        if (narrowed_) attention_table().narrow(keys_, count * mla_.dim(), narrow_keys_);
        if (narrowed_) attention_table().narrow(values_, count * mla_.v, narrow_values_);
    }

    RowSet keys(int64_t from, int count) const { return rows(keys_, narrow_keys_, from, mla_.dim(), count); }
    RowSet values(int64_t from, int count) const { return rows(values_, narrow_values_, from, mla_.v, count); }

private:
    // A latent to its place, the rotated key behind where its head's key will be.
    void read(int64_t sequence, int64_t position, int64_t i) {
        mla_.pages.read(mla_.batch, sequence, position, 0, mla_.rank, latents_ + i * mla_.rank);
        mla_.pages.read(mla_.batch, sequence, position, mla_.rank, mla_.rope, keys_ + i * mla_.dim() + mla_.nope);
    }

    const Chunk* rounded(const Input& in) {
        Chunk* chunks = chunk_space_.get<Chunk>(in.T * chunk_stride(in.cols));
        prepare_here(latents_, in.T, mla_.rank, chunks);
        return chunks;
    }

    RowSet rows(const float* wide, const uint16_t* narrow, int64_t from, int64_t width, int count) const {
        RowSet set;
        set.count = count, set.bfloat = narrowed_;
        for (int64_t i = 0; i < count; ++i)
            set.rows[i] = narrowed_ ? reinterpret_cast<const uint8_t*>(narrow + (from + i) * width)
                                    : reinterpret_cast<const uint8_t*>(wide + (from + i) * width);
        return set;
    }

    // (rank, nope) in stored blocks -> (nope, rank) in float32, which rows of latents can be multiplied by.
    void transpose_keys_up() {
        float* turned = turned_space_.get<float>(mla_.nope * (mla_.rank + 1));
        float* row = turned + mla_.nope * mla_.rank;
        for (int64_t r = 0; r < mla_.rank; ++r) {
            linear_table().decode(keys_up_, r, row);
            for (int64_t n = 0; n < mla_.nope; ++n) turned[n * mla_.rank + r] = row[n];
        }
        keys_up_ = {Format::F32, reinterpret_cast<const uint8_t*>(turned), mla_.nope, mla_.rank, mla_.rank * 4};
    }

    static thread_local Workspace latent_space_, key_space_, value_space_, narrow_key_space_, narrow_value_space_, chunk_space_, turned_space_;
    const Mla& mla_;
    Weight keys_up_, values_up_;
    const bool narrowed_;  // to bfloat16, as the cache is, where dot products of it are the faster ones
    float *latents_, *keys_, *values_;
    uint16_t *narrow_keys_ = nullptr, *narrow_values_ = nullptr;
};

thread_local Workspace Stretch::latent_space_, Stretch::key_space_, Stretch::value_space_, Stretch::narrow_key_space_, Stretch::narrow_value_space_,
    Stretch::chunk_space_, Stretch::turned_space_;

std::vector<RowTile> tiles_of(const Mla& a, int64_t sequence, int64_t head) {
    std::vector<RowTile> tiles;
    for (int64_t t = a.batch.starts[sequence]; t < a.batch.starts[sequence + 1]; ++t) {
        if (tiles.empty() || tiles.back().rows == tile_rows) tiles.emplace_back();
        tiles.back().add(a.q + (t * a.heads + head) * a.dim(), 0, a.batch.positions[t]);
    }
    return tiles;
}

}  // namespace

Expanded::Expanded(const Mla& problem, const std::vector<int64_t>& sequences)
    : mla_(problem), sequences_(sequences), tasks_(static_cast<int64_t>(sequences.size()) * problem.heads, 1) {}

int64_t Expanded::work() const {
    int64_t work = 0;
    for (int64_t s : sequences_)
        work += mla_.heads * mla_.batch.lengths[s] * (mla_.rank * (mla_.nope + mla_.v) + mla_.batch.count(s) * (mla_.dim() + mla_.v));
    return work;
}

void Expanded::run() {
    for (int64_t i, end; tasks_.next(i, end);) head_of(sequences_[i / mla_.heads], i % mla_.heads);
}

void Expanded::head_of(int64_t sequence, int64_t head) const {
    static thread_local Workspace workspace;
    std::vector<RowTile> tiles = tiles_of(mla_, sequence, head);
    int64_t rows = mla_.batch.count(sequence), stride = padded(mla_.v), length = mla_.batch.lengths[sequence];
    float* sums = workspace.get<float>(rows * stride);
    std::fill_n(sums, rows * stride, 0.0f);
    Stretch made(mla_, head);
    for (int64_t first = 0; first < length; first += stretch) {
        int64_t count = std::min(stretch, length - first);
        made.make(sequence, first, count);
        for (size_t i = 0; i < tiles.size(); ++i)
            for (int64_t key = 0; key < count && first + key <= tiles[i].last[tiles[i].rows - 1]; key += tile_keys) {
                int keys = static_cast<int>(std::min<int64_t>(tile_keys, count - key));
                tiles[i].attend(made.keys(key, keys), made.values(key, keys), first + key, mla_.dim(), mla_.v, mla_.scale, sums + i * tile_rows * stride);
            }
    }
    for (int64_t i = 0; i < rows; ++i) {
        const RowTile& tile = tiles[i / tile_rows];
        int64_t token = mla_.batch.starts[sequence] + i;
        tile.finish(static_cast<int>(i % tile_rows), sums + i / tile_rows * tile_rows * stride, mla_.v, mla_.out + (token * mla_.heads + head) * mla_.v);
    }
}

#include "absorbed.h"

#include <algorithm>
#include <cstring>

#include "ops/linear/moving.h"
#include "ops/linear/multiply.h"
#include "workspace.h"

namespace {

constexpr int64_t decoded_rows = 16;  // of a key matrix at a time: they stay in L1 while all queries pass

thread_local Workspace decoded_space, input_space, chunk_space;

int64_t pieces(size_t count) { return static_cast<int64_t>(count); }

Batch selected(const Batch& whole, const std::vector<int64_t>& sequences, std::vector<int32_t>* positions, std::vector<int32_t>* starts,
               std::vector<int32_t>* lengths, std::vector<int32_t>* pages, std::vector<int64_t>* tokens) {
    starts->push_back(0);
    for (int64_t s : sequences) {
        for (int64_t t = whole.starts[s]; t < whole.starts[s + 1]; ++t) tokens->push_back(t), positions->push_back(whole.positions[t]);
        starts->push_back(static_cast<int32_t>(tokens->size()));
        lengths->push_back(whole.lengths[s]);
        pages->insert(pages->end(), whole.pages + s * whole.table_width, whole.pages + (s + 1) * whole.table_width);
    }
    return {positions->data(), starts->data(), lengths->data(), pages->data(), pieces(sequences.size()), pieces(tokens->size()), whole.table_width};
}

// n rows of floats, rounded to int8 first where the format multiplies in int8.
void multiply_rows(const Weight& w, const float* x, int64_t n, float* out, int64_t stride) {
    Input in{x, nullptr, w.cols, n};
    if (is_block_format(w.format)) {
        Chunk* chunks = chunk_space.get<Chunk>(n * chunk_stride(in.cols));
        prepare_here(x, n, w.cols, chunks);
        in.chunks = chunks;
    }
    multiply_here(w, in, out, stride);
}

}  // namespace

Absorbed::Absorbed(const Mla& problem, const std::vector<int64_t>& sequences)
    : mla_(problem),
      problem_{selected(problem.batch, sequences, &positions_, &starts_, &lengths_, &pages_, &tokens_), problem.pages, problem.pages, nullptr, nullptr,
               1, problem.heads, problem.width(), problem.rank, problem.scale, 0, 0},
      absorbing_(problem.heads, 1), attending_(0, 1), merging_(0, 1), raising_(problem.heads, 1) {
    static thread_local Workspace queries, sums;
    q_ = queries.get<float>(count() * problem.heads * problem.width());
    mixed_ = sums.get<float>(count() * problem.heads * problem.rank);
    problem_.q = q_, problem_.out = mixed_;
    plan(problem_, &plan_);
    parts_ = parts_of(plan_, problem.rank);
    attending_.reset(pieces(plan_.tasks.size()));
    merging_.reset(pieces(plan_.merges.size()));
}

int64_t Absorbed::work() const { return plan_.work + count() * mla_.heads * (mla_.nope + mla_.v) * mla_.rank; }

void Absorbed::absorb(int64_t head) {
    if (mla_.up->split()) absorb_columns(head);
    else absorb_rows(head);
    for (int64_t i = 0; i < count(); ++i) {
        const float* query = mla_.q + (tokens_[i] * mla_.heads + head) * mla_.dim();
        std::memcpy(q_ + (i * mla_.heads + head) * mla_.width() + mla_.rank, query + mla_.nope, mla_.rope * sizeof(float));
    }
}

// Each row of the matrix, weighted by one number of the query, is added to it.
void Absorbed::absorb_rows(int64_t head) {
    Weight w = mla_.keys_up(head);
    int64_t stride = padded(mla_.rank);
    float* rows = decoded_space.get<float>(decoded_rows * mla_.rank);
    float* sums = input_space.get<float>(tile_rows * (stride + tile_keys));
    float* weights = sums + tile_rows * stride;
    for (int64_t i = 0; i < count(); i += tile_rows) {
        int m = static_cast<int>(std::min<int64_t>(tile_rows, count() - i));
        std::fill_n(sums, m * stride, 0.0f);
        for (int64_t first = 0; first < mla_.nope; first += decoded_rows) {
            RowSet set;
            set.count = static_cast<int>(std::min(decoded_rows, mla_.nope - first)), set.bfloat = false;
            for (int r = 0; r < set.count; ++r) {
                decode_row(w, first + r, rows + r * mla_.rank);
                set.rows[r] = reinterpret_cast<const uint8_t*>(rows + r * mla_.rank);
            }
            for (int j = 0; j < m; ++j)
                std::memcpy(weights + j * tile_keys, mla_.q + (tokens_[i + j] * mla_.heads + head) * mla_.dim() + first, set.count * sizeof(float));
            attention_table().values(weights, m, set, mla_.rank, nullptr, sums, stride);
        }
        for (int j = 0; j < m; ++j)
            std::memcpy(q_ + ((i + j) * mla_.heads + head) * mla_.width(), sums + j * stride, mla_.rank * sizeof(float));
    }
}

void Absorbed::absorb_columns(int64_t head) {
    float* x = input_space.get<float>(count() * mla_.nope);
    for (int64_t i = 0; i < count(); ++i)
        std::memcpy(x + i * mla_.nope, mla_.q + (tokens_[i] * mla_.heads + head) * mla_.dim(), mla_.nope * sizeof(float));
    multiply_rows(mla_.keys_up(head), x, count(), q_ + head * mla_.width(), mla_.heads * mla_.width());
}

void Absorbed::raise(int64_t head) {
    float* x = input_space.get<float>(count() * (mla_.rank + mla_.v));
    float* y = x + count() * mla_.rank;
    for (int64_t i = 0; i < count(); ++i)
        std::memcpy(x + i * mla_.rank, mixed_ + (i * mla_.heads + head) * mla_.rank, mla_.rank * sizeof(float));
    multiply_rows(mla_.values_up(head), x, count(), y, mla_.v);
    for (int64_t i = 0; i < count(); ++i)
        std::memcpy(mla_.out + (tokens_[i] * mla_.heads + head) * mla_.v, y + i * mla_.v, mla_.v * sizeof(float));
}

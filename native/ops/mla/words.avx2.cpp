// Latents are made whole numbers of 16 bits once a tile, and lie there twice: as rows for the scores, as pairs of tokens for
// the values. That costs a sixth of what 16 query rows then take. Bytes are whole numbers already and lose nothing. The next
// tile is fetched into L2 meanwhile.
#include "latent.h"
#include "ops/attention/ahead.h"
#include "ops/attention/words.avx2.h"
#include "workspace.h"

namespace {

struct Tile {
    int16_t *rows, *pairs;  // (tile_keys, width), and as WordValues has them
    alignas(32) float units[2][tile_keys], inverse[2][tile_keys];
};

const Bfloat* row_of(const LatentTask& t, int64_t key) {
    return reinterpret_cast<const Bfloat*>(t.blocks[key / word_block]) + key % word_block * t.width;
}

// Columns begin .. end of the two tokens from number j on.
template <bool Values>
INLINE void round_two(const Bfloat* const* x, const float* inverse, int64_t begin, int64_t end, int64_t width, int16_t* rows, int16_t* pairs) {
    const Floats first = broadcast(inverse[0]), second = broadcast(inverse[1]);
    for (int64_t d = begin; d < end; d += 16) {
        __m256i a = rounded(x[0] + d, first), b = rounded(x[1] + d, second);
        put(rows + d, a), put(rows + width + d, b);
        if (Values) put_pairs(pairs + d / 16 * WordValues::block, a, b);
    }
}

// 16 columns of a quad's four tokens, in the order that `rounded` has.
INLINE void spread_quad(const uint8_t* quad, __m256i* out) {
    __m256i low = load32(quad), high = load32(quad + 32), zero = _mm256_set1_epi8(static_cast<char>(128));
    __m256i even = _mm256_unpacklo_epi32(low, high), odd = _mm256_unpackhi_epi32(low, high);  // of tokens 0 and 1, 2 and 3
    const __m256i by_token = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
    even = _mm256_xor_si256(_mm256_permutevar8x32_epi32(even, by_token), zero), odd = _mm256_xor_si256(_mm256_permutevar8x32_epi32(odd, by_token), zero);
    out[0] = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(even)), out[1] = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(even, 1));
    out[2] = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(odd)), out[3] = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(odd, 1));
}

void spread_tile(const LatentTask& t, int64_t key, int count, Tile* tile) {
    for (int j = 0; j < count; ++j) {
        const float* scale = t.scales[(key + j) / word_block] + (key + j) % word_block;
        tile->units[0][j] = scale[0], tile->units[1][j] = scale[t.page];
    }
    for (int j = 0; j < count; j += 4) {
        const uint8_t* quad = t.blocks[(key + j) / word_block] + (key + j) % word_block * t.width;
        int16_t *rows = tile->rows + j * t.width, *pairs = tile->pairs + 16 * j;
        for (int64_t d = 0; d < t.width; d += 16) {
            __m256i x[4];
            spread_quad(quad + 4 * d, x);
            for (int i = 0; i < 4; ++i) put(rows + i * t.width + d, x[i]);
            if (d >= t.rank) continue;
            for (int i = 0; i < 4; i += 2) put_pairs(pairs + d / 16 * WordValues::block + 16 * i, x[i], x[i + 1]);
        }
    }
}

// A missing second token is the first one times nothing.
void round_tile(const LatentTask& t, int64_t key, int count, Tile* tile) {
    const Bfloat* x[tile_keys + 1];
    for (int j = 0; j < count; ++j) {
        x[j] = row_of(t, key + j);
        tile->units[0][j] = largest(x[j], t.rank), tile->units[1][j] = largest(x[j] + t.rank, t.width - t.rank);
    }
    for (int part = 0; part < 2; ++part) {
        const float most = most_of_row(part ? t.width - t.rank : t.rank);
        for (int j = 0; j < count; j += lanes) {
            Floats size = load(tile->units[part] + j);
            store(tile->inverse[part] + j, inverse_of(size, most)), store(tile->units[part] + j, size * broadcast(1 / most));
        }
        if (count % 2) tile->inverse[part][count] = 0;
    }
    x[count] = x[count - 1];
    for (int j = 0; j < count; j += 2) {
        int16_t *rows = tile->rows + j * t.width, *pairs = tile->pairs + 16 * j;
        round_two<true>(x + j, tile->inverse[0] + j, 0, t.rank, t.width, rows, pairs);
        round_two<false>(x + j, tile->inverse[1] + j, t.rank, t.width, t.width, rows, pairs);
    }
}

struct Queries {
    int16_t* words;
    alignas(32) float units[2][tile_rows + 8];

    void round(const LatentTask& t) {
        for (int i = 0; i < t.rows; ++i) {
            units[0][i] = round_query(t.q[i], t.rank, words + i * t.width);
            units[1][i] = round_query(t.q[i] + t.rank, t.width - t.rank, words + i * t.width + t.rank);
        }
    }
};

}  // namespace

void attend_words_avx2(const LatentTask& t) {
    static thread_local Workspace query_space, row_space, pair_space, scratch_space;
    Queries q;
    Tile tile;
    q.words = query_space.get<int16_t>(tile_rows * t.width);
    tile.rows = row_space.get<int16_t>(tile_keys * t.width), tile.pairs = pair_space.get<int16_t>(tile_keys * t.rank);
    q.round(t);
    const int64_t token_bytes = t.scales ? t.width : 2 * t.width, for_a_line = t.rows * (t.width + t.rank) * 64 / token_bytes;
    for (int64_t key = 0; key < t.keys; key += tile_keys) {
        const int count = static_cast<int>(std::min<int64_t>(tile_keys, t.keys - key));
        Ahead ahead(t.blocks, (key + tile_keys) / word_block, std::min(key + 2 * tile_keys, t.keys) / word_block, word_block * token_bytes);
        if (t.scales) spread_tile(t, key, count, &tile);
        else round_tile(t, key, count, &tile);
        const WordStep step{{q.words, t.width, t.rank, {q.units[0], q.units[1]}}, {tile.rows, t.width, t.rank, {tile.units[0], tile.units[1]}},
                            {tile.pairs, tile.units[0], t.rank, t.scales ? 128 : most_of_row(t.rank)},
                            t.rows, count, t.last, t.first + key, t.scale, t.states, t.sums, t.stride};
        attend_words(step, scratch_space.get<WordScratch>(1), [&](int64_t n) { ahead.fetch(static_cast<int>(n / for_a_line + 1)); });
    }
}

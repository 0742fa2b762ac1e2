#include "tiles.h"

#include "isa.h"

const TileTable* tile_table() {
#if defined(__x86_64__)
    static const TileTable* const table = has_tiles() ? &tiles_amx : nullptr;
    return table;
#else
    return nullptr;
#endif
}

void pack_tiles(const Input& in, int64_t begin, int64_t end, uint16_t* tiles) {
    for (int64_t i = begin; i < end; ++i)
        for (int64_t c = 0; c < in.cols; c += tile_columns) tile_table()->put(in.floats(i) + c, tile_place(tiles, in.cols, i, c));
}

#include "amx.h"
#include "probe.h"

// Four chains of tiles' products hide their latency: 16 by 16 sums of 32 products each, at most every 16 cycles.
static uint64_t bf16(int64_t rounds) {
    alignas(64) static const uint16_t ones[tile_size] = {0x3f80};
    alignas(64) float sums[tile_side * tile_side];
    Tiles tiles(tile_side);
    written();
    _tile_loadd(4, ones, tile_line);
    _tile_loadd(6, ones, tile_line);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t r = 0; r < rounds; ++r) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 6);
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 6);
    }
    _tile_stored(0, sums, tile_line);
    written();
    return static_cast<uint64_t>(sums[0]);
}

extern const ProbeTable::Rate probe_amx;
const ProbeTable::Rate probe_amx = {bf16, 4 * tile_side * tile_size};

#pragma once

// The instruction set that kernels are chosen for: once, when the module is imported.
// DIVEBELL_ISA=scalar|avx2|avx512|amx|neon picks a lower one; asking for one that the processor lacks is an error.
// amx is AVX-512 with tiles (AMX_TILE, AMX_BF16), which the system must grant.

enum class Isa { scalar, neon, avx2, avx512, amx };

Isa isa();                    // throws std::runtime_error when DIVEBELL_ISA can't be had
const char* isa_name(Isa);
bool has_isa(Isa);
bool has_avx512();            // the chosen instruction set is avx512 or amx
bool has_bf16_dot();          // AVX512_BF16, and the chosen instruction set has it
bool has_tiles();             // the chosen instruction set is amx

// Picks a pointer to an op's table of kernels. An op that has no table for an instruction set passes nullptr there
// and gets its scalar one.
template <class Table>
const Table& choose(const Table* scalar, const Table* neon, const Table* avx2, const Table* avx512) {
    const Table* by_isa[] = {scalar, neon, avx2, avx512, avx512};
    const Table* table = by_isa[static_cast<int>(isa())];
    return *(table ? table : scalar);
}

"""One small GGUF file that has some of everything, put together by hand and written by the gguf package."""

import struct

import gguf
import numpy as np
from hostile_gguf import ARCHITECTURE, BOOL, F32, I32, STRING, U32, U64, Pieces, array, entry, info, text, u32, u64

KINDS = gguf.GGMLQuantizationType
RANDOM = np.random.default_rng(7)
STORED = {
    "token_embd.weight": (KINDS.Q8_0, (2, 64)),
    "output_norm.weight": (KINDS.F32, (5,)),
    "blk.0.ffn_up.weight": (KINDS.Q4_K, (3, 256)),
    "blk.0.ffn_up_exps.weight": (KINDS.BF16, (2, 3, 4)),
    "naïve 名": (KINDS.F16, (1, 2, 3, 4)),
}
NUMBERS = {name: RANDOM.normal(size=shape).astype(np.float32) for name, (_, shape) in STORED.items()}
BLOCKS = {  # the package does not quantize to Q4_K
    name: RANDOM.integers(0, 100, (3, 144), np.uint8) if kind is KINDS.Q4_K else gguf.quantize(NUMBERS[name], kind)
    for name, (kind, _) in STORED.items()
}
WORDS = ["", "a", "名", "a longer word", "\0"]
METADATA = [
    ARCHITECTURE,
    entry("general.alignment", U32, u32(32)),
    entry("llama.block_count", U32, u32(1)),
    entry("llama.epsilon", F32, struct.pack("<f", 0.5)),
    entry("llama.flag", BOOL, b"\1"),
    entry("llama.count", U64, u64(2**64 - 1)),
    array("words", STRING, len(WORDS), *(piece for word in WORDS for piece in text(word))),
    array("types", I32, 3, struct.pack("<3i", -1, 0, 2**31 - 1)),
    array("flags", BOOL, 2, b"\1\0"),
]
VALUES = ["llama", 32, 1, 0.5, True, 2**64 - 1, WORDS, [-1, 0, 2**31 - 1], [True, False]]


def infos_and_data() -> tuple[list[Pieces], bytes]:
    infos, data = [], b""
    for name, (kind, shape) in STORED.items():
        infos.append(info(name, shape[::-1], kind, len(data)))
        data += BLOCKS[name].tobytes()
        data += bytes(-len(data) % 32)
    return infos, data


def write_by_package(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(32)
    writer.add_block_count(1)
    writer.add_float32("llama.epsilon", 0.5)
    writer.add_bool("llama.flag", True)
    writer.add_uint64("llama.count", 2**64 - 1)
    writer.add_array("words", WORDS)
    writer.add_array("types", [-1, 0, 2**31 - 1])
    writer.add_array("flags", [True, False])
    finish(writer)
    return path


def finish(writer: gguf.GGUFWriter) -> None:
    """Adds the tensors and writes it all."""
    for name, (kind, _) in STORED.items():
        writer.add_tensor(name, BLOCKS[name], raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value

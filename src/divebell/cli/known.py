"""The shapes of well-known models, counted from the config.json that each was released with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """parameters: all of them. read_per_token: those that decoding one token reads: the chosen experts, attention, and
    the head, but one row of the embedding. cache_per_token: bytes of a bfloat16 cache that each token takes."""

    name: str
    parameters: int
    read_per_token: int
    cache_per_token: int


SHAPES = (
    Shape("R1-Distill-Qwen-1.5B", 1_777_088_000, 1_543_714_304, 28_672),
    Shape("R1-Distill-Qwen-7B", 7_615_616_512, 7_070_619_136, 57_344),
    Shape("R1-Distill-Llama-8B, Llama-3.1-8B", 8_030_261_248, 7_504_924_672, 131_072),
    Shape("R1-Distill-Qwen-14B", 14_770_033_664, 13_991_465_984, 196_608),
    Shape("DeepSeek-V2-Lite", 15_706_484_224, 2_451_435_008, 31_104),
    Shape("Moonlight-16B-A3B", 15_960_110_208, 2_579_231_872, 31_104),
    Shape("R1-Distill-Qwen-32B", 32_763_876_352, 31_985_308_672, 262_144),
    Shape("R1-Distill-Llama-70B", 70_553_706_496, 69_503_033_344, 327_680),
    Shape("DeepSeek-V2.5", 235_741_434_880, 20_851_512_320, 69_120),
    Shape("DeepSeek-V3, R1", 671_026_419_200, 36_625_618_432, 70_272),
)

BITS = {"q4": 4.3125, "q8": 8.3125}  # for each weight, with its scales (D4, D8)


def weight_bytes(count: int, format: str) -> int:
    return int(count * BITS[format] / 8)

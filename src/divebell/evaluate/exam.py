"""A long text that two models read, with lines in it that they are asked to copy, and facts to recall."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from divebell.errors import BadInput

ROOM = 160  # tokens beyond the text, for a question and its answer
LEAST_TOKENS = 256
_TOKENS_A_PROBE = 150  # so many of the text for one probe, so that most of what is read is text
MOST_PROBES = 24
_WORDS = [
    "anchor",
    "basket",
    "candle",
    "desert",
    "engine",
    "falcon",
    "garden",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "marble",
    "needle",
    "orchard",
    "pepper",
    "quarry",
    "ribbon",
    "saddle",
    "temple",
    "urchin",
    "velvet",
    "walnut",
    "yonder",
    "zephyr",
    "amber",
    "bridge",
    "copper",
    "dragon",
    "ember",
    "forest",
    "glacier",
    "harbor",
    "ivory",
    "jungle",
    "kernel",
    "lantern",
    "meadow",
    "nickel",
    "ocean",
    "pillar",
    "quartz",
    "raven",
    "silver",
    "timber",
    "umbrella",
    "valley",
    "willow",
    "acorn",
    "barrel",
    "canyon",
    "drum",
    "eagle",
    "feather",
    "granite",
    "hollow",
    "indigo",
    "juniper",
    "kitten",
    "lemon",
    "mirror",
    "nectar",
    "olive",
    "parrot",
]
_TOOLS = (
    "tar -xzf {file}.tar.gz -C {folder} --strip-components={digit}",
    "rsync -av --exclude='*.{word}' {folder}/ backup@10.0.{digit}.{number}:{folder}",
    "find {folder} -name '{word}_*.log' -mtime +{digit} -exec gzip -9 {{}} +",
    "grep -rn --include='*.{word}' '{file}' {folder} | head -n {number}",
)


class Encoder(Protocol):
    bos_id: int | None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Probe:
    """kind: path, hash, shell line or recall. line: what stands in the text. question: what the text is continued with.
    answer: what must follow, up to `end`. position: of the line's first token in the text."""

    kind: str
    line: str
    question: str
    answer: str
    end: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Exam:
    """ids: the text with the lines in it, as both models read it."""

    ids: list[int]
    probes: list[Probe]


def exam(tokenizer: Encoder, text: Sequence[int], tokens: int, seed: int) -> Exam:
    """Of at most `tokens` tokens: the text, cut to fit, and evenly between its parts the lines. Raises BadInput."""
    check_length(tokens)
    probes = make_probes(min(max(tokens // _TOKENS_A_PROBE, 1), MOST_PROBES), seed)
    lines = [tokenizer.encode(f"\n{probe.line}\n", add_special_tokens=False) for probe in probes]
    begin = [first for first in tokenizer.encode("")[:1] if first == tokenizer.bos_id]
    text = list(text)[: tokens - len(begin) - sum(map(len, lines))]
    if len(text) < len(probes) + 1:
        raise BadInput(f"the text is too short for {len(probes)} lines in it; give a longer one")
    ids, placed = begin, []
    for index, (probe, line) in enumerate(zip(probes, lines, strict=True)):
        ids = ids + _part(text, index, len(probes) + 1)
        placed.append(Probe(probe.kind, probe.line, probe.question, probe.answer, probe.end, len(ids)))
        ids = ids + line
    return Exam(ids + _part(text, len(probes), len(probes) + 1), placed)


def check_length(tokens: int) -> None:
    if tokens < LEAST_TOKENS:
        raise BadInput(f"tokens is {tokens}; it must be {LEAST_TOKENS} or more")


def _part(text: list[int], index: int, parts: int) -> list[int]:
    return text[len(text) * index // parts : len(text) * (index + 1) // parts]


def make_probes(count: int, seed: int) -> list[Probe]:
    """Of each kind in turn, each with a name that no other has."""
    rng = random.Random(seed)
    kinds = (_path, _recall, _hash, _shell_line)
    names = rng.sample(_WORDS, count)
    return [kinds[index % len(kinds)](name, rng) for index, name in enumerate(names)]


def _path(name: str, rng: random.Random) -> Probe:
    return _copy("path", name, f"{_folder(rng)}/{_file(rng)}.{rng.choice(_WORDS)}")


def _hash(name: str, rng: random.Random) -> Probe:
    return _copy("hash", name, f"{rng.getrandbits(128):032x}")


def _shell_line(name: str, rng: random.Random) -> Probe:
    words = {"file": _file(rng), "folder": _folder(rng), "word": rng.choice(_WORDS)}
    line = rng.choice(_TOOLS).format(**words, digit=rng.randrange(1, 9), number=rng.randrange(10, 99))
    return _copy("shell line", name, line)


def _copy(kind: str, name: str, value: str) -> Probe:
    return Probe(kind, f"{name} = {value}", f"\n{name} =", value, "\n")


def _recall(name: str, rng: random.Random) -> Probe:
    fact, number = f"The cargo of the ship {name.title()} is", rng.randrange(100, 1000)
    return Probe("recall", f"{fact} {number} tons.", f"\n{fact}", f"{number} tons", ".")


def _folder(rng: random.Random) -> str:
    return "/" + "/".join(rng.choices(_WORDS, k=rng.randrange(2, 5)))


def _file(rng: random.Random) -> str:
    return f"{rng.choice(_WORDS)}-v{rng.randrange(1, 9)}.{rng.randrange(20)}_{rng.getrandbits(16):04x}"

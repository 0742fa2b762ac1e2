"""Whether a model is the same as a reference: how far its predictions are, and whether it copies and recalls alike.

Each model is loaded alone, observed, and let go of; what is compared is what was observed.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from divebell.engine.divergence import Divergence, divergence
from divebell.engine.llm import LLM
from divebell.errors import BadInput
from divebell.evaluate.exam import MOST_PROBES, Encoder, Exam, Probe, make_probes

WRITTEN_LENGTH = 512  # tokens of each text that a model writes itself
_BUCKETS = (0, 1024, 2048, 4096, 8192, 16384)
_SAMPLES = 256  # positions of a bucket: the mean's error is then about a tenth of it
_TOGETHER = 4  # answers at once: so few are computed as one answer alone is
_ROWS = 64


@dataclass(frozen=True, slots=True)
class Observed:
    """rows: float32 logits (sampled positions, vocabulary), in a file. answers: one to each probe."""

    rows: np.ndarray
    answers: list[str]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Positions from `first` up to, without, `end`."""

    first: int
    end: int
    found: Divergence


@dataclass(frozen=True, slots=True)
class Asked:
    """What both said to a probe."""

    probe: Probe
    reference: str
    model: str

    @property
    def lost(self) -> bool:
        return self.reference == self.probe.answer != self.model


@dataclass(frozen=True, slots=True)
class Verdict:
    """within: nats that the mean divergence of each bucket may have."""

    buckets: list[Bucket]
    asked: list[Asked]
    within: float

    @property
    def reasons(self) -> list[str]:
        """Why it is not the same; empty if it is."""
        far = [
            f"{one.found.mean:.4g} nats at positions {one.first:,} to {one.end - 1:,}, above {self.within:g}"
            for one in self.buckets
            if one.found.mean > self.within
        ]
        lost = [one.probe for one in self.asked if one.lost]
        return far + [f"the {probe.kind} at {probe.position:,} is lost: {probe.answer}" for probe in lost]

    @property
    def same(self) -> bool:
        return not self.reasons


def written(llm: LLM, tokens: int, seed: int) -> list[int]:
    """A text for models to read, in the model's own words, each part begun with a random token."""
    starts = np.random.default_rng(seed).integers(0, llm.vocabulary, -(-tokens // WRITTEN_LENGTH)).tolist()
    options = {"max_tokens": WRITTEN_LENGTH - 1, "temperature": 1.0, "seed": seed, "ignore_eos": True}
    answers = llm.batch([[start] for start in starts], **options)
    return [id for start, answer in zip(starts, answers, strict=True) for id in (start, *answer.token_ids)][:tokens]


def observe(llm: LLM, exam: Exam) -> Observed:
    """Has a model read the text and answer the questions. Raises BadInput where its tokenizer is another one."""
    _check_tokenizer(llm, exam)
    return Observed(_logits_at(llm, exam.ids, sampled(len(exam.ids))), _answers(llm, exam))


def compare(reference: Observed, model: Observed, exam: Exam, within: float) -> Verdict:
    if reference.rows.shape != model.rows.shape:
        sizes = f"{reference.rows.shape[1]:,} and {model.rows.shape[1]:,}"
        raise BadInput(f"the vocabularies of reference and model have {sizes} tokens; they must be alike")
    asked = [Asked(*each) for each in zip(exam.probes, reference.answers, model.answers, strict=True)]
    return Verdict(list(_buckets(reference, model, len(exam.ids))), asked, within)


def sampled(tokens: int) -> list[int]:
    """Positions, ascending: of each bucket evenly as many as count."""
    return [place for first, end in _ranges(tokens) for place in _evenly(first, end)]


def _ranges(tokens: int) -> Iterator[tuple[int, int]]:
    for first, end in zip(_BUCKETS, (*_BUCKETS[1:], tokens), strict=True):
        if first < tokens:
            yield first, min(end, tokens)


def _evenly(first: int, end: int) -> list[int]:
    count = min(end - first, _SAMPLES)
    return [first + (end - first) * index // count for index in range(count)]


def _buckets(reference: Observed, model: Observed, tokens: int) -> Iterator[Bucket]:
    begin = 0
    for first, end in _ranges(tokens):
        rows = range(begin, begin + len(_evenly(first, end)))
        pieces = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
        yield Bucket(first, end, divergence(_Recorded(reference.rows), _Recorded(model.rows), pieces))
        begin = rows.stop


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Logits that were read before, by row."""

    rows: np.ndarray

    def logits(self, places: Sequence[int]) -> np.ndarray:
        return np.array(self.rows[places[0] : places[-1] + 1])


def _logits_at(llm: LLM, ids: list[int], positions: list[int]) -> np.ndarray:
    with tempfile.TemporaryFile() as file:
        rows = np.memmap(file, np.float32, "w+", shape=(len(positions), llm.vocabulary))
    places = np.array(positions)

    def keep(position: int, logits: np.ndarray) -> None:
        begin, end = np.searchsorted(places, (position, position + len(logits)))
        rows[begin:end] = logits[places[begin:end] - position]

    llm.read(ids, keep)
    return rows


def _answers(llm: LLM, exam: Exam) -> list[str]:
    said = []
    for start in range(0, len(exam.probes), _TOGETHER):
        probes = exam.probes[start : start + _TOGETHER]
        prompts = [exam.ids + _encoded(llm, probe.question) for probe in probes]
        most = max(len(_encoded(llm, f" {probe.answer}{probe.end}")) for probe in probes)
        for probe, answer in zip(probes, llm.batch(prompts, max_tokens=most + 2), strict=True):
            said.append(answer.text.split(probe.end)[0].strip())
    return said


def _encoded(llm: LLM, text: str) -> list[int]:
    return llm.tokenizer.encode(text, add_special_tokens=False)


def _check_tokenizer(llm: LLM, exam: Exam) -> None:
    for probe in exam.probes:
        line = _encoded(llm, f"\n{probe.line}\n")
        if exam.ids[probe.position : probe.position + len(line)] != line:
            raise _differ(probe)


def check_tokenizers(reference: Encoder, model: Encoder, seed: int) -> None:
    """Before either model is loaded. Raises BadInput where they split a line of the exam otherwise."""
    for probe in make_probes(MOST_PROBES, seed):
        first, second = (one.encode(probe.line, add_special_tokens=False) for one in (reference, model))
        if first != second:
            raise _differ(probe)


def _differ(probe: Probe) -> BadInput:
    return BadInput(
        "the tokenizers of model and reference differ, so their predictions can't be compared: "
        f"{probe.line!r} is not the same tokens to both"
    )

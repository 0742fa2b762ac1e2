"""Damage done to headers, the same in every run, and what may come of opening them."""

import gc
import random
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from divebell.errors import BadFile, DivebellError, Unsupported
from divebell.weights.checkpoint import Checkpoint, open_checkpoint
from divebell.weights.tensor import Tensor

LIMITS = [0, 1, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1]
NOT_UTF8 = [b"\xff", b"\xc3", b"\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80"]


def check_limits(action: Callable[[], object]) -> None:
    """Time and memory apart, as tracing takes time. A yardstick between the runs tells a slow reader from a processor
    that others slow down; the quickest of three runs counts."""
    with frozen():
        taken, yard = (min(times) for times in zip(*(timed_beside_yardstick(action) for _ in range(3)), strict=True))
    assert taken < 20 * yard, f"took {taken:.2f} s; two million numbers were added in {yard:.3f} s"
    with within_200_mb(), suppress(DivebellError):
        action()


def timed_beside_yardstick(action: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of the action, and of two million additions."""
    return processor_seconds(action), processor_seconds(lambda: sum(i + 1 for i in range(2_000_000)))


def processor_seconds(action: Callable[[], object]) -> float:
    begin = time.thread_time()
    with suppress(DivebellError):
        action()
    return time.thread_time() - begin


@contextmanager
def frozen() -> Iterator[None]:
    """What the tests have made so far is kept from the garbage collector, whose rounds would count as the time of what
    runs meanwhile."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def within_a_second() -> Iterator[None]:
    begin = time.thread_time()
    yield
    taken = time.thread_time() - begin
    assert taken < 1, f"took {taken:.2f} s"


@contextmanager
def within_200_mb() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert highest < 200_000_000, f"took {highest / 1e6:.0f} MB"


def outcomes(
    cases: Iterable[int],
    damage: Callable[[random.Random], Path],
    files: Collection[Path],
    compare: Callable[[Checkpoint], str] = lambda checkpoint: "loaded",
) -> Counter:
    """What became of each case. damage: makes its files, of which one is to blame, and tells what is to be opened.
    compare: what is loaded with what another reader finds."""
    found: Counter[str] = Counter()
    for case in cases:
        path = damage(random.Random(case))
        try:
            opened = opened_or_error(path, files)
            found[opened if isinstance(opened, str) else compare(opened)] += 1
        except BaseException as problem:
            problem.add_note(f"case {case}; its files are still in {path if path.is_dir() else path.parent}")
            raise
    return found


def opened_or_error(path: Path, files: Collection[Path]) -> Checkpoint | str:
    """A sound checkpoint, or the class of an error that names one of `files` and a field. All else fails."""
    try:
        with within_a_second(), within_200_mb():
            checkpoint = open_checkpoint(path)
    except (BadFile, Unsupported) as error:
        check_message(error, files)
        return type(error).__name__
    check_sound(checkpoint, files)
    return checkpoint


def check_message(error: BadFile | Unsupported, files: Collection[Path]) -> None:
    field = error.field if isinstance(error, BadFile) else error.what
    assert any(str(error).startswith(f"{file}: {field}") for file in files), str(error)
    assert field.strip()
    assert str(error).isprintable()
    assert len(str(error)) < 1000


def check_sound(checkpoint: Checkpoint, files: Collection[Path]) -> None:
    """Every tensor has the bytes that its shape takes, and they are its own bytes of the file."""
    spans = []
    for tensor in readable(checkpoint, files):
        assert tensor.data.dtype == np.uint8
        assert tensor.data.shape == (tensor.nbytes,)
        assert not tensor.data.flags.writeable
        assert all(n >= 0 for n in tensor.shape)
        if tensor.nbytes:
            spans.append(span(tensor.data))
    ends = {}
    for file, begin, end, size in sorted(spans):
        assert ends.get(file, 0) <= begin <= end <= size
        ends[file] = end


def readable(checkpoint: Checkpoint, files: Collection[Path]) -> Iterator[Tensor]:
    """The tensors whose number format is one of ours; the others must say so when they are asked for."""
    for name in checkpoint.tensors:
        try:
            yield checkpoint.tensors[name]
        except Unsupported as error:
            check_message(error, files)


def span(array: np.ndarray) -> tuple[int, int, int, int]:
    """Which mapped file (its address) an array is a view of, where it begins and ends there, and the file's size."""
    file = array
    while isinstance(file.base, np.ndarray):
        file = file.base
    whole = np.frombuffer(file.base, np.uint8)
    begin = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return id(file.base), begin, begin + array.nbytes, whole.size


def replace(path: Path, content: bytes) -> Path:
    """Writes a new file instead of writing into one that may still be mapped."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def shown(value: object) -> str:
    """A test's name from the words that it expects, without the bytes that it reads."""
    return value[:60] if isinstance(value, str) else ""


def damaged_bytes(rng: random.Random, raw: bytes, header: int | None = None) -> bytes:
    """header: how many of the bytes matter most."""
    at = rng.randrange(min(len(raw), header or len(raw)) + 1)
    width = rng.randint(1, 16)
    return rng.choice(
        [
            lambda: raw[:at],
            lambda: raw[:at] + raw[at + width :],
            lambda: raw[: at + width] + raw[at:],
            lambda: raw[:at] + bytes(width) + raw[at + width :],
            lambda: raw[:at] + rng.randbytes(width) + raw[at + width :],
            lambda: raw[:at] + bytes(b ^ 1 << rng.randrange(8) for b in raw[at : at + 1]) + raw[at + 1 :],
            lambda: raw[:at] + struct.pack("<Q", rng.choice(LIMITS)) + raw[at + 8 :],
            lambda: raw[:at] + struct.pack("<I", rng.choice(LIMITS) & 0xFFFFFFFF) + raw[at + 4 :],
            lambda: raw[:at] + rng.choice(NOT_UTF8) + raw[at + 1 :],
            lambda: raw + rng.randbytes(width),
        ]
    )()

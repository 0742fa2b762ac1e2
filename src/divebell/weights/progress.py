"""How far a download or a reading is, drawn on a terminal; nothing is drawn elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from divebell.weights.store import sha256_of


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to be told how many of `total` bytes are there by now."""
    if not sys.stderr.isatty():
        yield lambda position: None
        return
    with _bar() as bar:
        task = bar.add_task(title, total=total)
        yield lambda position: bar.update(task, completed=position)


def hashed(path: Path, size: int) -> str:
    """The SHA-256 of a file of `size` bytes, in hexadecimal."""
    done = 0
    with progress(f"hashing {path.name}", size) as show:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            show(done)

        return sha256_of(path, advance)


def _bar():
    from rich import progress as rich
    from rich.console import Console

    columns = (rich.DownloadColumn(), rich.TransferSpeedColumn(), rich.TimeRemainingColumn())
    return rich.Progress(
        rich.TextColumn("{task.description}"), rich.BarColumn(), *columns, console=Console(stderr=True)
    )

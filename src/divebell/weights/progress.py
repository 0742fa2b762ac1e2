"""How far a download is, drawn on a terminal; nothing is drawn elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to be told how many of `total` bytes are there by now."""
    if not sys.stderr.isatty():
        yield lambda position: None
        return
    with _bar() as bar:
        task = bar.add_task(title, total=total)
        yield lambda position: bar.update(task, completed=position)


def _bar():
    from rich import progress as rich
    from rich.console import Console

    columns = (rich.DownloadColumn(), rich.TransferSpeedColumn(), rich.TimeRemainingColumn())
    return rich.Progress(
        rich.TextColumn("{task.description}"), rich.BarColumn(), *columns, console=Console(stderr=True)
    )

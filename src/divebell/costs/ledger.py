"""Receipts on disk: SQLite, each row with the hash of the one before it, so that a changed or lost row shows.

One table: id (1, 2, ...), body (JSON with sorted keys), hash: SHA-256 of the previous row's hash and the body. Rows cut
off at the end can't be told from rows that never were: keep a hash elsewhere, or an export, whose rows have theirs.
"""

import atexit
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import takewhile
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from divebell.costs.settings import state
from divebell.errors import BadFile

LOG = logging.getLogger(__name__)
FIRST = "0" * 64
_SCHEMA = "CREATE TABLE IF NOT EXISTS receipts (id INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL)"
_CHANGED = "row {} was changed, or its hash was"
_PATIENCE = 5.0  # seconds that other processes may hold the file, or the end of the program waits for the last rows
_LATE = 60.0  # seconds after its own moment by which a row is surely written


def place() -> Path:
    return state() / "receipts.sqlite"


def link(previous: str, body: str) -> str:
    """The hash of a row."""
    return hashlib.sha256((previous + body).encode()).hexdigest()


def append(path: Path, rows: list[Mapping[str, Any]]) -> None:
    """Raises sqlite3.Error or OSError where that can't be done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        base.execute(_SCHEMA)
        found = base.execute("SELECT id, hash FROM receipts ORDER BY id DESC LIMIT 1").fetchone()
        number, previous = found or (0, FIRST)
        for row in rows:
            body = json.dumps(row, sort_keys=True)
            number, previous = number + 1, link(previous, body)
            base.execute("INSERT INTO receipts VALUES (?, ?, ?)", (number, body, previous))
        base.execute("COMMIT")


def read(path: Path, newest_first: bool = False) -> Iterator[tuple[int, str, str]]:
    """(id, body, hash) of each row in order; none where there is no ledger yet, or an empty file, as it is before the
    first row. Raises BadFile for another file."""
    order = "DESC" if newest_first else "ASC"
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            yield from base.execute(f"SELECT id, body, hash FROM receipts ORDER BY id {order}")
    except sqlite3.Error as problem:
        raise BadFile(path, "receipts", f"can't be read: {problem}") from None


def receipts(path: Path) -> list[dict[str, Any]]:
    """The rows' bodies with their ids and hashes, those that were changed left out."""
    found = []
    for number, body, hash, problem in _checked(path):
        with suppress(ValueError, TypeError):  # after a gap
            found += [] if problem == _CHANGED else [{"id": number, **json.loads(body), "hash": hash}]
    return found


def damage(path: Path) -> list[str]:
    """A sentence for each row where the chain is broken."""
    return [problem.format(number) for number, *_, problem in _checked(path) if problem]


def _checked(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """(id, body, hash, what is wrong there, in words that the id belongs into). After a gap nothing can be checked."""
    previous, expected = FIRST, 1
    for number, body, hash in read(path):
        problem = ""
        if number != expected:
            missing = f"row {expected} is" if number == expected + 1 else f"rows {expected} to {number - 1} are"
            problem = f"{missing} missing"
        elif not isinstance(body, str) or link(str(previous), body) != hash:
            problem = _CHANGED
        yield number, body, hash, problem
        previous, expected = hash, number + 1


def booked(path: Path, since: float, until: float) -> float:
    """Seconds between two moments that idle rows cover already. Raises BadFile as `read` does."""
    bodies = (json.loads(body) for _, body, _ in read(path, newest_first=True) if isinstance(body, str))
    rows = takewhile(lambda row: row["time"] > since - _LATE, bodies)  # those before are too old, however many
    covered = 0.0
    for begin, end in sorted((row["since"], row["time"]) for row in rows if row["kind"] == "idle" and "since" in row):
        begin, end = max(begin, since), min(end, until)
        covered, since = covered + max(end - begin, 0.0), max(since, end)
    return covered


class Writer:
    """Writes in a thread of its own: no answer waits for a disk, and none is lost with it."""

    def __init__(self, path: Path | None = None, append: Callable[[Path, list], None] = append):
        self._path, self._append = path, append
        self._rows: Queue[Mapping[str, Any]] = Queue()
        self._thread: Thread | None = None
        self.lost = 0

    def add(self, row: Mapping[str, Any]) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._write, name="divebell receipts", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
        self._rows.put(row)

    def booked(self, since: float, until: float) -> float:
        """See `booked`; 0 where that can't be told."""
        try:
            return booked(self._path or place(), since, until)
        except Exception:  # a foreign file, damage: the row is written, or warned of, all the same
            return 0.0

    def flush(self) -> None:
        """Waits until all is written, or for some seconds."""
        with self._rows.all_tasks_done:
            self._rows.all_tasks_done.wait_for(lambda: not self._rows.unfinished_tasks, _PATIENCE)

    def _write(self) -> None:
        while True:
            rows = [self._rows.get()]
            while not self._rows.empty():
                rows.append(self._rows.get())
            try:
                self._append(self._path or place(), rows)
            except Exception as problem:  # a full disk, a foreign file: the answers have gone out all the same
                if not self.lost:
                    LOG.warning("receipts are not written down: %s: %s", self._path or place(), problem)
                self.lost += len(rows)
            for _ in rows:
                self._rows.task_done()


WRITER = Writer()

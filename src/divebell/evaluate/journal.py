"""Answered questions on disk, one JSON object a line, each written as soon as it is known.

The first line holds the settings of the run. What a killed process left of a last line is dropped.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divebell.errors import BadFile
from divebell.evaluate.cost import COUNTED

Row = dict[str, Any]
Key = tuple[str, int, int]
_HALVES = "backslashreplace"  # of a character, which a server's JSON may hold: UTF-8 has none, but JSON reads \ud800
FIELDS = {"task", "id", "sample", "digest", "scores", *COUNTED}


class Journal:
    """Of one model with one set of settings: its name in `folder` follows from them, so that a run finds its own."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]):
        text = json.dumps({"settings": settings}, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(text.encode(errors=_HALVES)).hexdigest()[:12]
        self.path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.')[:80]}-{digest}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = self._read(json.loads(text))
        self._file = self.path.open("a", encoding="utf-8", errors=_HALVES)
        if not self.path.stat().st_size:
            self._write(text)

    def find(self, key: Key, digest: str) -> Row | None:
        """The answer to a question, if it was the same question."""
        row = self.rows.get(key)
        return row if row and row["digest"] == digest else None

    def add(self, row: Row) -> None:
        self.rows[_key(row)] = row
        self._write(json.dumps(row, ensure_ascii=False))

    def close(self) -> None:
        self._file.close()

    def _write(self, line: str) -> None:
        """A row is there whole, or not: one write, on disk before the next question is counted."""
        self._file.write(line + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, head: Row) -> dict[Key, Row]:
        if not self.path.exists():
            return {}
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        rows = [self._row(number, line) for number, line in enumerate(whole.split(b"\n")[:-1], 1)]
        if rows and rows[0] != head:
            raise BadFile(self.path, "line 1", "holds other settings than its name says; move the file away")
        return {_key(row): row for row in rows[1:]}

    def _row(self, number: int, line: bytes) -> Row:
        try:
            row = json.loads(line)
            whole = isinstance(row, dict) and (number == 1 or row.keys() >= FIELDS)
        except ValueError:
            whole = False
        if not whole:
            raise BadFile(self.path, f"line {number}", "is damaged; delete it, and its question is asked again")
        return row


def _key(row: Row) -> Key:
    return row["task"], row["id"], row["sample"]

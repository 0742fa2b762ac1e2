"""Conversations on disk: one SQLite file that nobody else may read."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from divebell.errors import BadInput
from divebell.serve.ui.conversation import Conversation
from divebell.serve.ui.settings import Settings
from divebell.serve.ui.tree import Tree, Turn

TABLES = """
CREATE TABLE IF NOT EXISTS conversation (id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, model TEXT NOT NULL,
    title TEXT NOT NULL, settings TEXT NOT NULL, leaf INTEGER, changed REAL NOT NULL);
CREATE TABLE IF NOT EXISTS turn (conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
    id INTEGER NOT NULL, parent INTEGER, role TEXT NOT NULL, text TEXT NOT NULL, reasoning TEXT, figures TEXT NOT NULL,
    problem TEXT, PRIMARY KEY (conversation, id)) WITHOUT ROWID;
"""
BUSY = 5.0  # seconds to wait for another process
SAVE = """INSERT INTO conversation (id, owner, model, title, settings, leaf, changed)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET model = excluded.model, title = excluded.title, settings = excluded.settings,
    leaf = excluded.leaf, changed = excluded.changed WHERE owner = excluded.owner"""


def default_file() -> Path:
    """In DIVEBELL_HOME, or else in the person's data folder (XDG_DATA_HOME, ~/.local/share)."""
    if own := os.environ.get("DIVEBELL_HOME"):
        return Path(own).expanduser() / "conversations.sqlite3"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data).expanduser() / "divebell" / "conversations.sqlite3"


class Store:
    """Whoever asks sees their own conversations alone. Errors of the disk are BadInput that names the file."""

    def __init__(self, file: Path):
        self._file = file

    def save(self, conversation: Conversation) -> None:
        """Writes it as it is, and gives it an id if it has none."""
        tree, settings = conversation.tree, json.dumps(asdict(conversation.settings))
        head = (conversation.owner, conversation.model, conversation.title, settings, tree.leaf, time.time())
        with self._open() as database:
            row = database.execute(SAVE, (conversation.id, *head))
            conversation.id = conversation.id or row.lastrowid
            turns = [_row(conversation.id, turn) for turn in tree.turns.values()]
            database.executemany("INSERT OR REPLACE INTO turn VALUES (?, ?, ?, ?, ?, ?, ?, ?)", turns)

    def titles(self, owner: str) -> list[tuple[int, str]]:
        """(id, title) of all, the one that was changed last first."""
        with self._open() as database:
            order = "ORDER BY changed DESC, id DESC"
            return database.execute(f"SELECT id, title FROM conversation WHERE owner = ? {order}", (owner,)).fetchall()

    def load(self, id: int, owner: str) -> Conversation | None:
        with self._open() as database:
            head = "SELECT model, title, settings, leaf FROM conversation WHERE id = ? AND owner = ?"
            found = database.execute(head, (id, owner)).fetchone()
            columns = "id, parent, role, text, reasoning, figures, problem"
            rows = database.execute(f"SELECT {columns} FROM turn WHERE conversation = ? ORDER BY id", (id,)).fetchall()
        if found is None:
            return None
        model, title, settings, leaf = found
        turns = [Turn(*row[:5], json.loads(row[5]), row[6]) for row in rows]
        return Conversation(owner, model, title, Settings.of(json.loads(settings)), Tree(turns, leaf), id)

    def delete(self, id: int, owner: str) -> None:
        with self._open() as database:
            database.execute("DELETE FROM conversation WHERE id = ? AND owner = ?", (id, owner))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        try:
            self._make_private()
            database = sqlite3.connect(self._file, timeout=BUSY)
            try:
                database.execute("PRAGMA foreign_keys = ON")
                database.executescript(TABLES)
                with database:
                    yield database
            finally:
                database.close()
        except (OSError, sqlite3.Error) as problem:
            raise BadInput(f"conversations can't be kept in {self._file}: {problem}") from None

    def _make_private(self) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))


def _row(conversation: int, turn: Turn) -> tuple:
    figures = json.dumps(turn.figures)
    return conversation, turn.id, turn.parent, turn.role, turn.text, turn.reasoning, figures, turn.problem

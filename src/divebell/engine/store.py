"""Pages on disk, so that what was computed survives a restart, and what memory has no room for is not lost.

Whatever is damaged, or is not what its name says, is deleted and never used: its tokens are computed again.
"""

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Thread

from divebell.engine.cache import Cache
from divebell.engine.page_file import KEY_BYTES, Damaged, key_of, name_of, pack, tokens_in, unpack
from divebell.engine.page_folder import files, prepare, trim, usual_limit, write

BACKLOG = 16  # pages on their way to the disk, in memory
_log = logging.getLogger(__name__)


class Store:
    """Pages of one model in one format. limit: bytes for all models' pages in `folder` together.

    For the thread that owns the cache; files are written by a thread of the store's own. Raises BadInput for a folder
    that can't be used.
    """

    def __init__(self, folder: Path, identity: dict[str, object], cache: Cache, limit: int | None = None):
        text = json.dumps(identity, sort_keys=True).encode()
        self.root = hashlib.blake2b(text, digest_size=KEY_BYTES).digest()
        self._folder, self._cache = folder / self.root.hex(), cache
        prepare(self._folder, identity)
        limit = usual_limit(folder) if limit is None else limit
        self._writer = _Writer(lambda: prepare(self._folder, identity), lambda: trim(folder, limit), limit)
        self._after: defaultdict[bytes, set[bytes]] = defaultdict(set)
        for file in files(folder):
            if file.path.parent == self._folder:
                self._note(file.path.stem)

    def _note(self, name: str) -> None:
        with suppress(ValueError):
            before, key = map(bytes.fromhex, name.split("-"))
            self._after[before].add(key)

    def save(self, before: bytes, tokens: Sequence[int], page: int, wait: bool = False) -> None:
        """Has a page written soon. Where the disk does not keep up, it is left out, unless one can `wait`."""
        key = key_of(before, tokens)
        path = self._folder / name_of(before, key)
        try:
            os.utime(path)
        except OSError:
            if wait or not self._writer.busy:
                self._writer.put(path, partial(pack, before, tokens, self._cache.read(page)))
                self._after[before].add(key)

    def has(self, before: bytes, tokens: Sequence[int]) -> bool:
        return key_of(before, tokens) in self._after.get(before, ())

    def load(self, before: bytes, key: bytes, page: int) -> tuple[int, ...] | None:
        """Fills a page of the cache; its tokens, or None where there is no such page or it is damaged."""
        path = self._folder / name_of(before, key)
        try:
            tokens, data = unpack(memoryview(path.read_bytes()), before, key, self._cache.page_bytes)
            os.utime(path)
        except (OSError, Damaged) as problem:
            self._after[before].discard(key)
            if isinstance(problem, Damaged):
                _log.warning("%s %s; it is deleted, and computed again where it is needed", path, problem)
                path.unlink(missing_ok=True)
            return None
        self._cache.write(page, data)
        return tokens

    def following(self, before: bytes) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """Key and tokens, not verified yet, of the pages that follow a page."""
        for key in self._after.get(before, ()):
            with suppress(OSError):
                yield key, tokens_in(self._folder / name_of(before, key))

    def close(self) -> None:
        """Waits until all is written."""
        self._writer.close()


class _Writer:
    """Writes files one after the other, on a thread that begins with the first.

    prepare: makes the folder anew, should somebody have removed it. trim: is called now and then to hold `limit` bytes.
    """

    def __init__(self, prepare: Callable[[], None], trim: Callable[[], None], limit: int):
        self._prepare, self._trim = prepare, trim
        self._stretch = limit // 16  # bytes between two trims
        self._since = self._stretch
        self._queue: Queue[tuple[Path, Callable[[], list[bytes]]] | None] = Queue(BACKLOG)
        self._thread: Thread | None = None
        self._failed = False

    @property
    def busy(self) -> bool:
        return self._queue.full()

    def put(self, path: Path, pack: Callable[[], list[bytes]]) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="divebell-kv", daemon=True)
            self._thread.start()
        self._queue.put((path, pack))

    def close(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            self._trim()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                path, pack = job
                self._write(path, pack())
            except Exception as problem:
                if not self._failed:
                    _log.warning("pages can't be kept on disk: %s", problem)
                self._failed = True

    def _write(self, path: Path, parts: list[bytes]) -> None:
        if not path.parent.is_dir():
            self._prepare()
        write(path, parts)
        self._since += sum(map(len, parts))
        if self._since > self._stretch:
            self._since = 0
            self._trim()

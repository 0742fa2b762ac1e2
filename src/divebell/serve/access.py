"""The access log: each request is counted and written down when it has ended."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from divebell.serve.record import Record

if TYPE_CHECKING:
    from divebell.serve.service import Service


class AccessLog:
    """stream: where a JSON line for each request goes; by default stdout."""

    def __init__(self, service: "Service", stream: TextIO | None = None):
        self._service, self._stream = service, stream or sys.stdout

    @contextmanager
    def request(self, record: Record) -> Iterator[None]:
        """One that a stop waits for."""
        self._service.in_flight += 1
        try:
            yield
        finally:
            self._service.in_flight -= 1
            self._write(record)

    @contextmanager
    def connection(self, record: Record) -> Iterator[None]:
        """One that a stop does not wait for."""
        try:
            yield
        finally:
            self._write(record)

    def _write(self, record: Record) -> None:
        record.seconds = time.monotonic() - record.began
        self._service.metrics.request(record)
        print(record.line(), file=self._stream, flush=True)

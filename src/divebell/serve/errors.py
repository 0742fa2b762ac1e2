"""divebell's errors as HTTP's."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from starlette.exceptions import HTTPException

from divebell.errors import BadInput, BadTemplate, DivebellError, OverBudget, TooLong, Unsupported
from divebell.serve.refusal import TOO_LONG, Refusal

LOG = logging.getLogger(__name__)
CLIENTS_FAULT = (BadInput, BadTemplate, OverBudget, Unsupported)
_FIELD = re.compile(r"([a-z_]+)((?:\[\d+\])?(?:\.[a-z_]+)*)(?: is | has |: )")  # messages begin with the field's name
_SAME = MappingProxyType({})


@contextmanager
def in_words_of(names: Mapping[str, str]) -> Iterator[None]:
    """What our options are blamed for, the fields of a request are. names: option -> field, where they differ."""
    try:
        yield
    except DivebellError as error:
        raise as_refusal(error, names) from error


def as_refusal(error: Exception, names: Mapping[str, str] = _SAME) -> HTTPException:
    """The client's fault where the request can't be served, ours where the model or its files are damaged."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, TooLong):
        return Refusal(400, str(error), code=TOO_LONG)
    if isinstance(error, CLIENTS_FAULT):
        return _blamed(str(error), names)
    if isinstance(error, DivebellError):
        return Refusal(500, str(error))
    LOG.error("a request failed", exc_info=error)
    return Refusal(500, "an error of ours; the server's log has more")


def _blamed(message: str, names: Mapping[str, str]) -> Refusal:
    named = _FIELD.match(message)
    if not named:
        return Refusal(400, message)
    field = names.get(named[1], named[1]) + named[2]
    return Refusal(400, field + message[named.end(2) :], param=field)

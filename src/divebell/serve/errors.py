"""divebell's errors as HTTP's."""

import logging
import re

from starlette.exceptions import HTTPException

from divebell.errors import BadInput, BadTemplate, DivebellError, OverBudget, TooLong, Unsupported
from divebell.serve.refusal import TOO_LONG, Refusal

LOG = logging.getLogger(__name__)
CLIENTS_FAULT = (BadInput, BadTemplate, OverBudget, Unsupported)
_FIELD = re.compile(r"([a-z_]+(?:\[\d+\])?(?:\.[a-z_]+)*)(?: is | has |: )")  # messages begin with the field's name


def as_refusal(error: Exception) -> HTTPException:
    """The client's fault where the request can't be served, ours where the model or its files are damaged."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, TooLong):
        return Refusal(400, str(error), code=TOO_LONG)
    if isinstance(error, CLIENTS_FAULT):
        named = _FIELD.match(str(error))
        return Refusal(400, str(error), param=named[1] if named else None)
    if isinstance(error, DivebellError):
        return Refusal(500, str(error))
    LOG.error("a request failed", exc_info=error)
    return Refusal(500, "an error of ours; the server's log has more")

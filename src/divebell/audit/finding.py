"""The result of one check."""

from dataclasses import dataclass
from typing import Literal

State = Literal["passed", "note", "warning", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """said: what was found, for the person. "not checked": the check could not be made, and `said` tells why."""

    check: str
    state: State
    said: str

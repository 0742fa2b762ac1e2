"""What a loaded model is."""

from dataclasses import dataclass
from pathlib import Path

from divebell.weights.catalogue import CATALOGUE
from divebell.weights.here import stated_licence


@dataclass(frozen=True, slots=True)
class Info:
    """parameters, active_parameters: all, and those that one token's answer is computed with.

    bytes: of the weights as stored. active_bytes: in memory, of those that one token's answer reads. licence: SPDX,
    where the catalogue or the file tells it. files: path -> bytes of each. description: more of the same, as
    `divebell.models.describe` gives it.
    """

    architecture: str
    parameters: int
    active_parameters: int
    bytes: int
    active_bytes: int
    licence: str | None
    files: dict[Path, int]
    description: object


def info_of(checkpoint: object, description: object, active_bytes: int) -> Info:
    return Info(
        architecture=description.architecture,
        parameters=description.parameters,
        active_parameters=description.active_parameters,
        bytes=sum(description.bytes.values()),
        active_bytes=active_bytes,
        licence=_licence(checkpoint),
        files=dict(checkpoint.file_sizes),
        description=description,
    )


def _licence(checkpoint: object) -> str | None:
    names = {file.name for file in checkpoint.files}
    entry = next((entry for entry in CATALOGUE.values() if entry.file in names), None)
    return stated_licence(entry, checkpoint.config)

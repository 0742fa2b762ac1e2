"""Whether a file's tensors are those of its architecture, by name and shape."""

from typing import Any

from divebell import models
from divebell.audit.finding import Finding
from divebell.config import plural
from divebell.errors import DivebellError
from divebell.models.binding import differences

_MOST_NAMED = 4


def tensor_finding(checkpoint: Any) -> Finding:
    try:
        module = models.architecture(checkpoint.architecture, checkpoint.path)
        config = models.configuration(checkpoint)
    except DivebellError as problem:
        return Finding("tensors", "not checked", str(problem))
    found = differences(checkpoint, module.parameters(config), module.unused(config))
    kinds = (("missing", found.missing), ("not of the architecture", found.spare), ("of another shape", found.wrong))
    problems = [f"{what}: {_some(names)}" for what, names in kinds if names]
    if problems:
        return Finding("tensors", "failed", "; ".join(problems))
    left = f", {len(found.unused):,} that divebell leaves alone ({_some(found.unused)})" if found.unused else ""
    used = len(checkpoint.tensors) - len(found.unused)
    return Finding("tensors", "passed", f"{plural(used, 'tensor', ',')}, each of the architecture's shape{left}")


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + rest

"""Which models to serve, under which names, and how they share the memory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divebell.config import format_bytes, parse_bytes
from divebell.engine.budget import usable_ram
from divebell.errors import BadInput, OverBudget

_SIZE = re.compile(r"@(\d+(?:\.\d+)?[kmgt]i?b)$", re.IGNORECASE)
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """name: what clients call it. model: for `divebell.load`. ram: bytes that it may take; None: its share."""

    name: str
    model: str
    ram: int | None


def shared(arguments: Sequence[str], ram: "int | str | None") -> list[Wanted]:
    """Models written as NAME=MODEL@SIZE; those without a size share what is left of `ram` evenly.

    Raises BadInput for a name that occurs twice, OverBudget where the sizes are more than there is.
    """
    if not arguments:
        raise BadInput("there is no model to serve; give one or more, such as smollm2-135m")
    wanted = [parsed(argument) for argument in arguments]
    names = [one.name for one in wanted]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadInput(f"two models are called {twice}; give one of them a name of its own, as NAME=MODEL")
    share = _share(wanted, usable_ram(ram))
    return [Wanted(one.name, one.model, one.ram or share) for one in wanted]


def parsed(argument: str) -> Wanted:
    """NAME=MODEL@8GiB, of which only MODEL is needed; a file or a folder is called by its own name."""
    size = _SIZE.search(argument)
    rest = argument[: size.start()] if size else argument
    named = None if Path(rest).exists() else _NAME.fullmatch(rest)
    name, model = named.groups() if named else (_own_name(rest), rest)
    return Wanted(name, model, parse_bytes(size[1]) if size else None)


def adapter(argument: str, models: Sequence[str]) -> tuple[str, Path, str]:
    """NAME=FOLDER, or NAME=FOLDER@MODEL where several models are served: the name, the folder, the model's name."""
    named = _NAME.fullmatch(argument)
    if not named:
        raise BadInput(f"adapter is {argument!r}; give NAME=FOLDER, where NAME is what clients call it")
    name, folder = named.groups()
    whole, _, model = folder.rpartition("@")
    if model in models:
        return name, Path(whole), model
    if len(models) > 1:
        raise BadInput(f"adapter is {argument!r}; say whose it is, as {argument}@MODEL, of {', '.join(models)}")
    return name, Path(folder), models[0]


def _own_name(model: str) -> str:
    path = Path(model)
    if path.suffix == ".gguf" and ":" not in model:
        return path.stem
    return path.resolve().name if path.exists() else model


def _share(wanted: Sequence[Wanted], usable: int) -> int:
    """Bytes of each model that has no budget of its own."""
    own = sum(one.ram or 0 for one in wanted)
    others = sum(one.ram is None for one in wanted)
    if own > usable or (others and own == usable):
        raise OverBudget(
            f"the models' own budgets sum to {format_bytes(own)}, and {format_bytes(usable)} may be used"
            f"{' by all' if others else ''}; give less to some, or more ram"
        )
    return (usable - own) // max(others, 1)

"""A plan for this machine: speeds rehearsed (see `rehearsal`) and remembered by shape, format, threads and kernels."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date

from divebell.costs.hardware import Hardware
from divebell.costs.plan import Speed, measured_speeds, money
from divebell.costs.rehearsal import Point, rehearse
from divebell.costs.roofline import demand
from divebell.costs.settings import Settings
from divebell.costs.shape import Shape
from divebell.costs.this_machine import keep, read, speeds_place
from divebell.engine.identity import kernels
from divebell.models.parameter import Parameter
from divebell.weights.formats import Format

DECODED = 16  # steps that a decoding speed is the median of
_LAYER = re.compile(r"^layers\.\d+\.")


def typical(parameters: list[Parameter], choose: Callable[[Parameter], Format]) -> Callable[[Parameter], Format]:
    """The format that most layers have for a parameter: mixtures give some layers more bits."""
    counts: dict[str, Counter[Format]] = defaultdict(Counter)
    for parameter in parameters:
        counts[_LAYER.sub("", parameter.name)][choose(parameter)] += 1
    most = {name: count.most_common(1)[0][0] for name, count in counts.items()}
    return lambda p: most.get(_LAYER.sub("", p.name)) or choose(p)


def on_this(
    shape: Shape, wanted: list[tuple[str, int, int, int]], machine: Hardware, settings: Settings
) -> list[Speed]:
    """Rehearses what these kernels have not been tried with yet.

    `measured` of each: what `divebell bench` found for this file.
    """
    kept = read(speeds_place())
    module, config, choose = shape.source
    format_of = typical(module.parameters(config), choose)
    formats = sorted({(_LAYER.sub("", p.name), format_of(p).name) for p in module.parameters(config)})
    about = repr((config, formats, machine.name, kernels())).encode()
    own = kept.setdefault("rehearsed", {}).setdefault(hashlib.sha256(about).hexdigest(), {"date": str(date.today())})
    missing = [one for one in wanted if _key(one) not in own]
    found = rehearse(module, config, format_of, [_point(one) for one in missing]) if missing else []
    own.update(zip(map(_key, missing), found, strict=True))
    keep(speeds_place(), kept)
    measured = measured_speeds(kept, shape.name)
    return [_speed(shape, one, own[_key(one)], machine, settings, measured.get(one)) for one in wanted]


def _key(one: tuple[str, int, int, int]) -> str:
    return " ".join(map(str, one))


def _point(one: tuple[str, int, int, int]) -> Point:
    kind, tokens, depth, batch = one
    return Point(kind, tokens if kind == "prompt" else DECODED, depth, batch)


def _speed(
    shape: Shape,
    one: tuple[str, int, int, int],
    seconds: float,
    machine: Hardware,
    settings: Settings,
    measured: float | None,
) -> Speed:
    kind, tokens, depth, batch = one
    needed = demand(shape, tokens, depth, batch)
    dollars = money(settings, machine, seconds / (tokens * batch))
    least, limit = needed.seconds(machine.read, machine.rates), needed.bottleneck(machine.read, machine.rates)
    return Speed(kind, tokens, depth, batch, seconds, least, limit, machine.watts, dollars, measured)

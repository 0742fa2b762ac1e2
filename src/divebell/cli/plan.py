"""divebell plan."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from divebell.cli.output import counted, print_fields, print_json, print_table
from divebell.config import format_bytes
from divebell.errors import BadInput

FORMATS = (None, "q8", "q4")


def plan(
    model: str | None = None,
    /,
    *,
    hardware: str = "this",
    format: str | None = None,
    context: str = "0,4096",
    batch: str = "1",
    json: bool = False,
) -> None:
    """Tell whether a model fits a machine, how fast it will be, and what it costs; a config.json is enough.

    Speeds of this machine are rehearsed: some layers of the model's true shape, with random weights, run in the engine
    itself (up to a minute, then remembered). Those of other hardware are its published figures times the share of them
    that programs reach, for GPUs with 8 prompts in a step. The formulas are printed. What does not fit is left out, and
    told. Where `divebell bench` has run the model, what it measured stands beside.

    Parameters
    ----------
    model
        a config.json or a folder that holds one, a model's folder, a .gguf file, or the name of a model that was pulled
    hardware
        this, or one of the catalogue (--hardware list shows it)
    format
        of the weights of a config.json: q4, q8, or a GGUF format such as q4_k; by default the best that fits
    context
        tokens already there, with commas between
    batch
        sequences that decode together, with commas between
    json
        print a JSON object
    """
    if hardware == "list":
        return _show_catalogue(json)
    if model is None:
        raise BadInput("MODEL is missing; give a config.json, a model's files or its name, or --hardware list alone")
    from divebell.costs import settings
    from divebell.costs.formulas import formulas
    from divebell.costs.plan import PROMPT, points, readable

    own = settings.load()
    contexts, batches = _counts("context", context, 0), _counts("batch", batch, 1)
    machine, shape, sizes, speeds = planned(model, hardware, format, contexts, batches, own)
    if not readable(shape, contexts):
        raise BadInput(
            f"--context is {context!r}, but the model can read {shape.longest:,} tokens, {PROMPT} of them new"
        )
    _, missing = points(shape, machine, contexts, batches)
    figures = {
        "model": model,
        "architecture": shape.architecture,
        "parameters": shape.parameters,
        "active_parameters": shape.active,
        "cache_bytes_per_token": shape.cache.per_token,
        "cache_bytes_fixed": shape.cache.fixed,
        "hardware": asdict(machine),
        "formats": [row for _, row in sizes],
        "format": next(row["format"] for chosen, row in sizes if chosen is shape),
        "speeds": [_figures(shape, speed) for speed in speeds],
        "left_out": {
            "too_long": [depth for depth in contexts if depth not in readable(shape, contexts)],
            "too_large": [dict(zip(("kind", "tokens", "depth", "batch"), one, strict=True)) for one in missing],
        },
        "formulas": formulas(shape, machine, own),
        "assumed": own.assumed,
    }
    print_json(figures) if json else _show(figures, speeds, own, shape.longest)


def planned(
    model: str, hardware: str, format: str | None, contexts: list[int], batches: list[int], own: Any
) -> tuple[Any, Any, list[tuple[Any, dict[str, Any]]], list[Any]]:
    """(machine, shape, sizes of all formats, speeds), of the best format that fits, or else of the smallest.

    Sizes are with the longest context that the model reads. A speed that the memory has no room for is left out.
    """
    from divebell.costs.plan import readable

    machine, shapes = _machine(hardware, own), _shapes(model, format)
    context = max(readable(shapes[0][1], contexts), default=0)
    sizes = [_size(shape, machine, context, max(batches)) for shape in shapes]
    shape, _ = next((pair for pair in sizes if pair[1]["fits"]), sizes[-1])
    return machine, shape, sizes, _speeds(shape, machine, contexts, batches, own)


def _figures(shape: Any, speed: Any) -> dict[str, Any]:
    from divebell.costs.roofline import demand

    needed = demand(shape, speed.tokens, speed.depth, speed.batch)
    work = {"bytes": needed.bytes, "multiply_adds": needed.adds}
    return asdict(speed) | {"tokens_per_s": speed.tokens_per_s} | work


def _counts(name: str, text: str, least: int) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [-1]
    if min(counts) < least:
        raise BadInput(f"--{name} is {text!r}; give numbers of {least} or more with commas between, such as 1,8")
    return counts


def _machine(name: str, own: Any) -> Any:
    from divebell.costs.hardware import hardware
    from divebell.costs.this_machine import this_hardware

    return this_hardware(own) if name == "this" else hardware(name)


def _shapes(model: str, format: str | None) -> list[tuple[str, Any]]:
    """(format, shape): of a config.json the formats to choose from, best first; a file has its own."""
    from divebell.costs.shape import shape_of_checkpoint, shape_of_config

    path = _config(Path(model))
    if path.suffix == ".json":
        wanted = (format,) if format else FORMATS
        return [(name or "as released", shape_of_config(path, name)) for name in wanted]
    if format:
        raise BadInput(f"--format {format} is for a config.json; {model} has weights in formats of its own")
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    return [("stored", shape_of_checkpoint(open_checkpoint(resolve(model))))]


def _config(path: Path) -> Path:
    """Of a folder that holds a config.json and no weights, that file."""
    alone = (path / "config.json").is_file() and not any(path.glob("*.safetensors*")) and not any(path.glob("*.gguf"))
    return path / "config.json" if alone else path


def _size(named: tuple[str, Any], machine: Any, context: int, batch: int) -> tuple[Any, dict[str, Any]]:
    from divebell.costs.plan import memory

    name, shape = named
    needed = memory(shape, context, batch)
    row = {"format": name, "bytes": shape.weight_bytes, "memory": needed, "fits": needed <= machine.memory}
    return shape, row


def _speeds(shape: Any, machine: Any, contexts: list[int], batches: list[int], own: Any) -> list[Any]:
    from divebell.costs.plan import on_paper, points

    wanted, _ = points(shape, machine, contexts, batches)
    if not machine.name.startswith("this") or shape.source is None:
        return on_paper(shape, machine, wanted, own)
    from divebell.costs.rehearsed import on_this

    return on_this(shape, wanted, machine, own)


def _show(figures: dict[str, Any], speeds: list[Any], own: Any, longest: int) -> None:
    from divebell.costs.settings import not_given

    machine = figures["hardware"]
    size = format_bytes(int(figures["cache_bytes_per_token"]))
    total, active = counted(figures["parameters"]), counted(figures["active_parameters"])
    fields = [
        ("model", f"{figures['architecture']}, {total} parameters, {active} for each token"),
        ("cache", f"{size} for each token, {format_bytes(figures['cache_bytes_fixed'])} for each sequence"),
        ("hardware", f"{machine['name']} ({machine['source']}, {machine['date']})"),
        ("memory", format_bytes(int(machine["memory"]))),
        ("power", _power(machine, own)),
    ]
    if machine["export"]:
        source = f" ({machine['export_source']}, {machine['export_date']})" if machine["export_date"] else ""
        fields.append(("export control", f"{machine['export']}{source}"))
    print_fields(fields)
    rows = [[row["format"], *_sizes(row), row["fits"]] for row in figures["formats"]]
    print_table(("format", "weights", "with cache", "fits"), rows)
    columns = ("", "depth", "batch", "tokens/s", "measured", "floor", "limit", "$/M tokens")
    if speeds:
        print_table(columns, [_cells(speed) for speed in speeds], f"speeds, weights {figures['format']}")
    for told in (*_left_out(figures["left_out"], len(speeds), longest), *figures["formulas"]):
        print(told)
    if missing := not_given(_missing(machine, own)):
        print(missing)


def _left_out(left: dict[str, Any], shown: int, longest: int) -> list[str]:
    from divebell.costs.plan import PROMPT

    told, large = [], len(left["too_large"])
    if left["too_long"]:
        depths = ", ".join(f"{depth:,}" for depth in left["too_long"])
        told.append(f"left out: context {depths}; the model can read {longest:,} tokens, {PROMPT} of them new")
    if large:
        told.append(f"{large} of {large + shown} speeds are left out: weights and cache would not fit the memory")
    return told


def _power(machine: dict[str, Any], own: Any) -> str:
    from divebell.costs.energy import CORE_WATTS, MEMORY_WATTS_PER_GB

    if not machine["watts"]:
        return "not known"
    how = f", assumed: {CORE_WATTS:g} W a core, {MEMORY_WATTS_PER_GB:g} W a GB of memory"
    return f"{machine['watts']:.0f} W" + (how if _is_this(machine) and own.watts is None else "")


def _is_this(machine: dict[str, Any]) -> bool:
    return machine["name"].startswith("this")


def _missing(machine: dict[str, Any], own: Any) -> list[str]:
    """Figures of the person's that the money would need: of the catalogue's machines all but the tariff is there."""
    needed = ("dollars_per_kwh", "dollars", "watts") if _is_this(machine) else ("dollars_per_kwh",)
    assumed = [name for name in needed if name in own.assumed]
    return [f"{name} ({own.dollars_per_kwh:g})" if name == "dollars_per_kwh" else name for name in assumed]


def _sizes(row: dict[str, Any]) -> list[str]:
    return [format_bytes(int(row[key])) for key in ("bytes", "memory")]


def _cells(speed: Any) -> list[Any]:
    tokens = speed.tokens * speed.batch
    measured = f"{tokens / speed.measured:,.3g}" if speed.measured else "-"
    dollars = f"{speed.dollars:.3g}" if speed.dollars is not None else "-"
    label = f"{speed.kind} {speed.tokens}" if speed.kind == "prompt" else speed.kind
    floor = tokens / speed.least
    return [label, speed.depth, speed.batch, speed.tokens_per_s, measured, floor, speed.bottleneck, dollars]


def _show_catalogue(json: bool) -> None:
    from divebell.costs.hardware import catalogue

    if json:
        return print_json([asdict(machine) for machine in catalogue()])
    columns = ("name", "memory", "GB/s", "int8 TOPS", "W", "$/h", "export control", "source", "date")
    print_table(columns, [_row(machine) for machine in catalogue()])


def _row(machine: Any) -> list[Any]:
    watts = f"{machine.watts:g}" if machine.watts else "-"
    rent = f"{machine.dollars_per_hour:g}" if machine.dollars_per_hour else "-"
    numbers = [format_bytes(int(machine.memory)), machine.read / 1e9, machine.int8 * 2 / 1e12, watts, rent]
    export = f"{machine.export} ({machine.export_date})" if machine.export_date else machine.export
    return [machine.name, *numbers, export, machine.source, machine.date]

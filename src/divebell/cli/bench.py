"""`divebell bench`: how fast a model reads prompts and decodes here, and how close to what the machine can do."""

from pathlib import Path
from statistics import mean
from typing import Any

from divebell.engine.garbage import uncollected
from divebell.errors import BadInput

_RATES = ("int8", "bf16", "f32")


def bench(
    model: str,
    /,
    *,
    prompt: str = "512",
    decode: int = 32,
    depth: str = "0",
    batch: str = "1",
    threads: int | None = None,
    cache: str | None = None,
    json: bool = False,
) -> None:
    """Time prompts and decoding, with the share of the machine's floor that they reach.

    A decoded token has to read its weights and its cache once, a prompt has to do its multiply-adds: the floor is the
    larger of the two times, at the bandwidth and the rates measured here before and after. Works from token ids alone;
    the context below a depth is random numbers.

    Parameters
    ----------
    model
        a catalogue name, a folder, a .gguf file, or a hub id
    prompt
        tokens of each prompt to time, with commas between; 0 for none
    decode
        tokens to decode at each depth; 0 for none
    depth
        tokens already in the context, with commas between
    batch
        sequences that decode together, with commas between
    threads
        by default one for each core
    cache
        numbers of the cache: f32, bf16, or for latents q8; by default bf16
    json
        print a JSON object
    """
    from divebell.cli.output import print_json
    from divebell.costs.plan import keep_bench
    from divebell.ops import native

    planned = native.threads(), None  # what a plan is made for
    figures = measure(
        model, _counts("prompt", prompt), decode, _counts("depth", depth), _counts("batch", batch), threads, cache
    )
    if (figures["threads"], cache) == planned:
        keep_bench(figures["model"], figures["rows"])
    print_json(figures) if json else _print(figures)


@uncollected()  # a look through everything would count as time of whatever is measured then
def measure(
    name: str,
    prompts: list[int],
    decode: int,
    depths: list[int],
    batches: list[int],
    threads: int | None,
    cache: str | None,
) -> dict[str, Any]:
    """What `divebell bench --json` prints."""
    from divebell import models
    from divebell.engine.residence import bring_in
    from divebell.engine.timing import Bench
    from divebell.engine.traffic import Traffic
    from divebell.ops import native
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    _check(decode, batches, threads)
    if threads is not None:
        native.set_threads(threads)
    checkpoint = open_checkpoint(resolve(name))
    config = models.configuration(checkpoint)
    longest = _longest(prompts, decode, depths, config.max_positions)
    parameters = models.architecture(checkpoint.architecture, checkpoint.path).parameters(config)
    arranged = bring_in(checkpoint)
    before = _floor()
    runner = Bench(
        lambda ops: models.load(checkpoint, ops, cache=cache, arranged=arranged),
        native,
        lambda model: Traffic(checkpoint, parameters, config, model.cache_layout, model.cache_dtype),
    )
    if arranged:
        arranged.settle()
    runner.reserve(longest, max(batches))
    timings = [runner.prompt(tokens, d) for tokens in prompts if tokens for d in depths]
    timings += [runner.decode(decode, d, b) for d in depths for b in batches if decode]
    memory = _memory(checkpoint.files)
    floor = {name: mean(pair) for name, pair in _pairs(before, _floor()).items()}
    return {
        "model": str(checkpoint.path),
        "threads": native.threads(),
        "rows": [_row(timing, floor) for timing in timings],
        "floor": floor,
        "memory": memory,
    }


def _floor() -> dict[str, float]:
    from divebell.engine import machine

    return {"read_gb_per_s": machine.read_gb_per_s()} | {f"{k}_gmac_per_s": machine.gmac_per_s(k) for k in _RATES}


def _pairs(before: dict[str, float], after: dict[str, float]) -> dict[str, tuple[float, float]]:
    return {name: (before[name], after[name]) for name in before}


def _row(timing: Any, floor: dict[str, float]) -> dict[str, Any]:
    rates = {kind: floor[f"{kind}_gmac_per_s"] for kind in _RATES}
    tokens = timing.tokens if timing.kind == "prompt" else timing.batch
    return {
        "kind": timing.kind,
        "tokens": timing.tokens,
        "depth": timing.depth,
        "batch": timing.batch,
        "tokens_per_s": timing.tokens_per_s,
        "bytes_per_token": timing.work.bytes / tokens,
        "gb_per_s": timing.work.bytes / timing.seconds / 1e9,
        "gmac_per_s": timing.work.multiply_adds.total() / timing.seconds / 1e9,
        "share_of_floor": timing.work.seconds(floor["read_gb_per_s"], rates) / timing.seconds,
        "runs": timing.runs,
        "ops": {name: {"seconds": s, "share": s / sum(timing.ops.values())} for name, s in timing.ops.items()},
    }


def _memory(files: list[Path]) -> dict[str, int]:
    """Bytes: of the files; of the process at its peak; of it now, apart from and within mapped files."""
    fields = {"peak": "VmHWM", "anonymous": "RssAnon", "mapped": "RssFile"}
    try:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        status = {}
    figures = {name: int(status[key].split()[0]) * 1024 for name, key in fields.items() if key in status}
    return {"file": sum(file.stat().st_size for file in files), **figures}


def _counts(name: str, text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [-1]
    if min(counts) < 0:
        raise BadInput(f"--{name} is {text!r}; give numbers of 0 or more with commas between, such as 512,2048")
    return counts


def _check(decode: int, batches: list[int], threads: int | None) -> None:
    if decode < 0:
        raise BadInput(f"--decode is {decode}; it must be 0 or more")
    if min(batches) < 1:
        raise BadInput(f"--batch has {min(batches)}; it must be 1 or more")
    if threads is not None and not 1 <= threads <= 1024:
        raise BadInput(f"--threads is {threads}; it must be 1 to 1024")


def _longest(prompts: list[int], decode: int, depths: list[int], most: int) -> int:
    longest = max(depths) + max(*prompts, decode)
    if longest > most:
        raise BadInput(f"a depth of {max(depths)} makes {longest} tokens; this model takes {most} at most")
    if not any(prompts) and not decode:
        raise BadInput("--prompt and --decode are both 0: there is nothing to time")
    return longest


def _print(figures: dict[str, Any]) -> None:
    from divebell.cli.output import print_fields, print_table
    from divebell.config import format_bytes

    columns = ("", "tokens", "depth", "batch", "tokens/s", "GB/s", "Gmac/s", "of floor")
    print_table(columns, [_cells(row) for row in figures["rows"]], f"{figures['model']}, {figures['threads']} threads")
    print_fields([(_label(row), _places(row)) for row in figures["rows"]])
    print()
    floor, memory = figures["floor"], figures["memory"]
    rates = ", ".join(f"{kind} {floor[f'{kind}_gmac_per_s']:.0f}" for kind in _RATES)
    print_fields(
        [
            ("reading, measured", f"{floor['read_gb_per_s']:.1f} GB/s"),
            ("multiply-adds, measured", f"{rates} G/s"),
            *((f"memory, {name}", format_bytes(size)) for name, size in memory.items()),
        ]
    )


def _cells(row: dict[str, Any]) -> list[Any]:
    plain = [row[key] for key in ("kind", "tokens", "depth", "batch", "tokens_per_s", "gb_per_s", "gmac_per_s")]
    return [*plain, f"{row['share_of_floor']:.0%}"]


def _label(row: dict[str, Any]) -> str:
    batch = f", {row['batch']} together" if row["batch"] > 1 else ""
    return f"time of {row['kind']} {row['tokens']:,} at {row['depth']:,}{batch}"


def _places(row: dict[str, Any]) -> str:
    ops = sorted(row["ops"].items(), key=lambda item: -item[1]["share"])
    return ", ".join(f"{name} {op['share']:.0%}" for name, op in ops if op["share"] >= 0.01)

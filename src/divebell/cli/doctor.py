"""divebell doctor."""

import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path

from divebell.cli.known import BITS, SHAPES, Shape, weight_bytes
from divebell.cli.output import print_fields, print_json, print_table
from divebell.config import format_bytes

CONTEXT = 4096
WORKSPACE = 1 << 30
ESTIMATE = (
    f"fits: weights + cache of {CONTEXT} tokens + {format_bytes(WORKSPACE)} <= available memory. "
    "ceiling: an estimate, not a measurement: measured read bandwidth / bytes of the weights that one token reads "
    "(the cache, which grows with the context, is left out)."
)


EXTENSIONS = {
    "scalar": (),
    "avx2": ("avx2", "fma", "f16c"),
    "avx512": ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"),
    "avx512 + bf16": ("avx512f", "avx512_vnni", "avx512_bf16"),
    "amx": ("avx512_bf16", "amx_tile", "amx_bf16"),
    "neon": ("asimd", "asimddp"),
}
USES = {"avx512 + bf16": ", for bfloat16 weights", "amx": ", for many tokens and for attention"}


def doctor(*, json: bool = False) -> None:
    """Measure this machine (about 3 seconds) and show what would run on it.

    Parameters
    ----------
    json
        print a JSON object
    """
    from divebell.engine.machine import measure

    machine, disk = asdict(measure(0.8)), _disk()
    limits = machine["memory_available"], machine["read_gb_per_s"], disk["free"]
    figures = {
        "machine": machine,
        "instruction_sets": instruction_sets(_processor_flags(), machine["isa"]),
        "disk": disk,
        "models": [model_row(shape, format, *limits) for shape in SHAPES for format in BITS],
        "estimate": ESTIMATE,
    }
    print_json(figures) if json else _show(figures)


def instruction_sets(flags: set[str], chosen: str) -> dict[str, str]:
    """What each instruction set that matters to kernels means here. flags: as /proc/cpuinfo names them."""
    return {
        name: _use(name, chosen) if flags.issuperset(wanted) else "the processor does not have it"
        for name, wanted in EXTENSIONS.items()
        if wanted or name == "scalar"
    }


def _use(name: str, chosen: str) -> str:
    if name.partition(" ")[0] != chosen:
        return f"kernels there; DIVEBELL_ISA={name.partition(' ')[0]} chooses them"
    return "kernels in use" + USES.get(name, "")


def _processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}


def model_row(shape: Shape, format: str, memory: int, read_gb_per_s: float, disk: int) -> dict:
    """One known model in one format. memory, disk: bytes available; read_gb_per_s: 1e9 bytes a second."""
    size = weight_bytes(shape.parameters, format)
    needed = size + shape.cache_per_token * CONTEXT + WORKSPACE
    return {
        "name": shape.name,
        "format": format,
        "bytes": size,
        "memory": needed,
        "fits_memory": needed <= memory,
        "fits_disk": size <= disk,
        "ceiling_tokens_per_s": read_gb_per_s * 1e9 / weight_bytes(shape.read_per_token, format),
    }


def _disk() -> dict[str, object]:
    from divebell.weights.store import home

    folder = home()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return {"folder": folder, "free": shutil.disk_usage(existing).free}


def _show(figures: dict) -> None:
    machine, disk = figures["machine"], figures["disk"]
    bandwidth = ", ".join(f"{rate:.1f} with {count}" for count, rate in machine["read_gb_per_s_by_threads"])
    rates = ", ".join(f"{kind} {machine[f'{kind}_gmac_per_s']:.0f}" for kind in ("int8", "bf16", "f32"))
    memory = f"{format_bytes(machine['memory_available'])} of {format_bytes(machine['memory_total'])} available"
    print_fields(
        [
            ("processor", machine["processor"]),
            ("cores", f"{machine['cores']}, {machine['threads']} threads in use"),
            ("memory", memory),
            ("disk", f"{format_bytes(disk['free'])} free for {disk['folder']}"),
            ("reading", f"{bandwidth} threads (GB/s, measured)"),
            ("multiplying", f"{rates} (billion multiply-adds a second, measured)"),
        ]
    )
    print_table(("instruction set", ""), figures["instruction_sets"].items())
    print_table(("model", "format", "size", "fits", "ceiling,\ntok/s"), map(_cells, figures["models"]))
    print(textwrap.fill(figures["estimate"], 80))


def _cells(row: dict) -> tuple[object, ...]:
    fits = "yes" if row["fits_memory"] and row["fits_disk"] else "no: disk" if row["fits_memory"] else "no: memory"
    return row["name"], row["format"], format_bytes(row["bytes"]), fits, row["ceiling_tokens_per_s"]

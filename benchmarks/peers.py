"""divebell against llama.cpp on the same files: in turn, each in a process of its own, medians, ratios.

    python benchmarks/peers.py [--only NAME,...] [--rounds 3] [--threads N] [--llama-python PATH] [--out FOLDER]

Writes peers.json, peers.md and, with matplotlib (the `bench` extra), peers.png. `--llama-python` is the interpreter of
an environment whose xllamacpp was built for this processor. Give it a machine that does nothing else: the load average
before each run is kept with its figures.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
RANDOM = Path.home() / ".cache/divebell/random"


@dataclass(frozen=True)
class Subject:
    """name: in the results. model: a catalogue name, or (config, format) of random weights. vocabulary: ids drawn.
    batch: sequences that are decoded together."""

    name: str
    model: str | tuple[str, str]
    prompt: str
    depth: str
    vocabulary: int
    batch: str = "1"


SUBJECTS = (
    Subject("SmolLM2-135M Q4_1", "smollm2-135m", "512", "0,2048", 49000),
    Subject("Qwen2.5-Coder-1.5B Q4_K_M", "qwen2.5-coder-1.5b", "512", "0,4096", 150000),
    Subject("DeepSeek-V2-Lite Q4_0 (random)", ("deepseek-v2-lite", "q4_0"), "512", "0,4096", 99000),
    Subject("DeepSeek-V2-Lite Q4_0, several (random)", ("deepseek-v2-lite", "q4_0"), "0", "0", 99000, "8,16"),
    Subject("DeepSeek-V2-Lite Q4_K (random)", ("deepseek-v2-lite", "q4_k"), "512", "0,4096", 99000),
    Subject("DeepSeek-V3's width, 4 layers, Q4_0 (random)", ("deepseek-v3-width", "q4_0"), "512", "0", 31000),
)


def main() -> None:
    options = _options()
    wanted = [
        s for s in SUBJECTS if not options.only or any(o.lower() in s.name.lower() for o in options.only.split(","))
    ]
    results = {"machine": machine(options.threads), "subjects": []}
    for subject in wanted:
        results["subjects"].append(_compare(subject, options))
        _write(results, options.out)
    print((options.out / "peers.md").read_text())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time divebell and llama.cpp in turn on the same files.")
    parser.add_argument("--only", help="parts of names, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--prompt", help="instead of each subject's own; 0 for none")
    parser.add_argument("--depth", help="the same")
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--models", type=Path, default=RANDOM, help="for random weights")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _compare(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    path = file_of(subject, options.models)
    ours = [sys.executable, "-m", "divebell", "bench", str(path), "--json"]
    theirs = [options.llama_python, str(HERE / "llama_cpp.py"), str(path), "--vocabulary", str(subject.vocabulary)]
    shared = ["--threads", str(options.threads), "--decode", str(options.decode)]
    shared += ["--prompt", options.prompt or subject.prompt, "--depth", options.depth or subject.depth]
    shared += ["--batch", subject.batch]
    runs: dict[str, list] = {"divebell": [], "llama.cpp": []}
    for _ in range(options.rounds):
        for name, command in (("divebell", ours), ("llama.cpp", theirs)):
            runs[name].append(_run([*command, *shared]))
            print(f"{subject.name}: {name}: {_brief(runs[name][-1])}", file=sys.stderr)
    return {"name": subject.name, "bytes": path.stat().st_size, "rows": _rows(runs), "runs": runs}


def file_of(subject: Subject, folder: Path = RANDOM) -> Path:
    """Of a subject; random weights are made where they are not in the folder yet."""
    if isinstance(subject.model, str):
        from divebell.weights.pull import resolve

        return Path(resolve(subject.model))
    config, format = subject.model
    path = folder / f"{config.removeprefix('deepseek-')}-{format}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        synth = [sys.executable, "-m", "divebell", "synth", str(HERE / f"configs/{config}.json")]
        subprocess.run([*synth, "--format", format, "--out", str(path)], check=True)
    return path


def _run(command: list[str]) -> dict[str, Any]:
    load = os.getloadavg()[0]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout)
    figures.pop("model", None)  # a path of this machine's
    return figures | {"load_average_before": load}


def _brief(run: dict[str, Any]) -> str:
    rows = (f"{_what(row)} {row['tokens_per_s']:.1f}/s" for row in run["rows"])
    return f"{', '.join(rows)}; peak {run['memory']['peak'] / 1e9:.1f} GB"


def _rows(runs: dict[str, list]) -> list[dict[str, Any]]:
    rows = []
    for row in runs["divebell"][0]["rows"]:
        speeds = {name: median(_same(run, row)["tokens_per_s"] for run in all_) for name, all_ in runs.items()}
        share = median(_same(run, row)["share_of_floor"] for run in runs["divebell"])
        rows.append(
            {key: row[key] for key in ("kind", "tokens", "depth", "batch")}
            | {"tokens_per_s": speeds, "ratio": speeds["divebell"] / speeds["llama.cpp"], "share_of_floor": share}
        )
    return rows


def _same(run: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """The row of another run that timed the same."""
    kinds = ("kind", "tokens", "depth", "batch")
    return next(other for other in run["rows"] if all(other[key] == row[key] for key in kinds))


def machine(threads: int) -> dict[str, Any]:
    from dataclasses import asdict

    from divebell.engine.machine import measure

    kernel = {"system": platform.platform(), "python": platform.python_version(), "threads_used": threads}
    return (
        asdict(measure())
        | kernel
        | {"date": datetime.now(UTC).isoformat(timespec="minutes"), "divebell": version("divebell")}
    )


def _write(results: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "peers.md").write_text(_markdown(results))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("no plot: pip install 'divebell[bench]' for matplotlib", file=sys.stderr)
    else:
        _plot(results, folder / "peers.png")


def _markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [
        f"{machine['date']}; {machine['processor']}, {machine['cores']} cores, {machine['isa']}, "
        f"{machine['memory_total'] / 2**30:.0f} GiB; {machine['threads_used']} threads; "
        f"reads {machine['read_gb_per_s']:.1f} GB/s, int8 {machine['int8_gmac_per_s']:.0f} G multiply-adds/s; "
        f"divebell {machine['divebell']}, {results['subjects'][0]['runs']['llama.cpp'][0]['built_for']}",
        "",
        "| model | | tokens/s divebell | llama.cpp | ratio | share of floor | load average |",
        "|---|---|---|---|---|---|---|",
    ]
    for subject in results["subjects"]:
        lines += [_line(subject, row) for row in subject["rows"]]
    return "\n".join([*lines, "", *_memory_lines(results)]) + "\n"


def _line(subject: dict[str, Any], row: dict[str, Any]) -> str:
    speeds = row["tokens_per_s"]
    load = median(run["load_average_before"] for runs in subject["runs"].values() for run in runs)
    cells = (
        f"{speeds['divebell']:.1f}",
        f"{speeds['llama.cpp']:.1f}",
        f"{row['ratio']:.2f}",
        f"{row['share_of_floor']:.0%}",
    )
    return f"| {subject['name']} | {_what(row)} | {' | '.join(cells)} | {load:.1f} |"


def _what(row: dict[str, Any]) -> str:
    what = f"prompt {row['tokens']}" if row["kind"] == "prompt" else "decode"
    what += f" of {row['batch']} together" if row["batch"] > 1 else ""
    return what + (f" at {row['depth']:,}" if row["depth"] else "")


def _memory_lines(results: dict[str, Any]) -> list[str]:
    lines = ["| model | file | peak memory divebell | of it apart from the file | llama.cpp |", "|---|---|---|---|---|"]
    for subject in results["subjects"]:
        ours, theirs = (subject["runs"][name][0]["memory"] for name in ("divebell", "llama.cpp"))
        sizes = (subject["bytes"], ours["peak"], ours["anonymous"], theirs["peak"])
        lines.append(f"| {subject['name']} | {' | '.join(f'{size / 1e9:.2f} GB' for size in sizes)} |")
    return lines


def _plot(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = [(s["name"], row) for s in results["subjects"] for row in s["rows"]]
    labels = [f"{name}\n{_what(row)}" for name, row in bars]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.5 * len(bars)), layout="constrained")
    axes.barh(range(len(bars)), [row["ratio"] for _, row in bars], color="#2a6f97")
    axes.axvline(1, color="#888888", linewidth=1)
    axes.set_yticks(range(len(bars)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("tokens per second, as a multiple of llama.cpp's")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()

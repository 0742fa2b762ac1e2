"""What requests get of `divebell serve`, over HTTP: at once, again, beside a long prompt, and turn by turn.

    python benchmarks/serving.py MODEL [--name NAME] [--only throughput,first_token,beside,turns] [--ram 4GiB]

MODEL is what any command takes, or the name of one of the subjects of peers.py, "DeepSeek-V2-Lite Q4_0 (random)" for
one, whose random weights are made where they are not there yet.

Starts the server itself, with a folder for its pages. Puts the figures of NAME into results/serving.json, beside those
of other models and what was measured of this one before, and all of them into results/serving.md. Give it a machine
that does nothing else: the load average before each measure is kept with its figures.
"""

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from divebell.text.tokenizer import Tokenizer, load_tokenizer
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.pull import resolve
from peers import SUBJECTS, file_of, machine
from serving_client import Client
from serving_measures import Measures
from soak_server import Server

HERE = Path(__file__).parent
NAME = "measured"
ASKED_AT_ONCE = {8: 1.9, 16: 2.6}
ASKED_BESIDE = 2.5
KINDS = ("throughput", "first_token", "beside", "turns")


def main() -> None:
    options = _options()
    found = asyncio.run(_measured(options))
    path = options.out / "serving.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results[options.name] = results.get(options.name, {}) | found
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "serving.md").write_text(markdown(results))
    print(markdown({options.name: results[options.name]}))


async def _measured(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"machine": machine(os.cpu_count())}
    with tempfile.TemporaryDirectory(prefix="divebell-serving-") as folder:
        place = Path(folder)
        limits = ["--kv-dir", str(place / "kv"), *(["--ram", options.ram] if options.ram else [])]
        server, client = Server([f"{NAME}={options.model}", *limits], 5.0, place), Client(NAME)
        measures = Measures(server, client, _tokenizer(options.model), options.seed)
        try:
            await measures.start()
            for kind in KINDS:
                if kind in options.only:
                    found[kind] = await _one(kind, measures, options)
        finally:
            server.end()
    return found


async def _one(kind: str, measures: Measures, options: argparse.Namespace) -> dict[str, Any]:
    match kind:
        case "throughput":
            return await measures.throughput(options.tokens, options.rounds)
        case "first_token":
            return await measures.first_token(options.prompt)
        case "beside":
            return await measures.beside(options.long, options.seconds, options.cached)
        case _:
            return await measures.turns(options.turns, options.tokens)


def _tokenizer(model: str) -> Tokenizer:
    checkpoint = open_checkpoint(resolve(model))
    try:
        return load_tokenizer(checkpoint)
    finally:
        checkpoint.close()


def markdown(results: dict[str, Any]) -> str:
    """A table of what was measured of each model, and what was asked for."""
    lines = ["| model | | measured | asked for | load average |", "|---|---|---|---|---|"]
    for name, found in results.items():
        for kind in (kind for kind in KINDS if kind in found):
            one = found[kind]
            lines += [f"| {name} | {' | '.join(row)} | {one['load']:.1f} |" for row in _ROWS[kind](one)]
    return "\n".join([*lines, "", *_machines(results)]) + "\n"


def _throughput(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for count, speed in found["tokens_per_s"].items():
        ratio, least = found["ratio"][count], ASKED_AT_ONCE.get(int(count), 1.0)
        asked = f"at least {least:g} times" if int(count) > 1 else ""
        figures = f"{speed:.1f} tokens/s, {ratio:.2f} times one"
        figures += f" (by processor time {found['ratio_of_processor_time'][count]:.2f})"
        yield f"{count} at once, {found['tokens']} tokens each", figures, asked


def _first_token(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield f"first token of a prompt of {found['tokens']:,}", f"{found['first']:.2f} s", ""
    asked = f"{found['most'] * 1000:.0f} ms at most"
    yield "the same with another last line", f"{found['again'] * 1000:.0f} ms", asked
    yield "the same after a restart", f"{found['restored'] * 1000:.0f} ms", asked


def _beside(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "a token of an answer", f"{found['alone'] * 1000:.1f} ms", ""
    what = f"beside a prompt of {found['tokens']:,} ({found['read']})"
    figures = f"{found['busy'] * 1000:.1f} ms, {found['ratio']:.2f} times"
    if by_processor := found.get("ratio_of_processor_time"):
        figures += f" (by processor time {by_processor:.2f})"
    figures += f"; 95 % within {found['late'] * 1000:.0f} ms"
    yield what, figures, f"{ASKED_BESIDE} times at most"


def _turns(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    what = f"prompt tokens computed in {found['turns']} turns that grow and branch, of {found['prompt']:,}"
    yield what, f"{found['computed']:,} ({found['by_metrics']:,} by /metrics)", f"{found['new']:,}, never seen before"


_ROWS = {"throughput": _throughput, "first_token": _first_token, "beside": _beside, "turns": _turns}


def _machines(results: dict[str, Any]) -> Iterator[str]:
    for name, found in results.items():
        one = found["machine"]
        yield (
            f"{name}: {one['date']}; {one['processor']}, {one['cores']} cores, {one['isa']}, reads "
            f"{one['read_gb_per_s']:.1f} GB/s; divebell {one['divebell']}."
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--name", help="in the results; by default MODEL")
    parser.add_argument("--only", default=",".join(KINDS), help="of the measures, with commas between")
    parser.add_argument("--ram", help="of the server")
    parser.add_argument("--tokens", type=int, default=96, help="of an answer")
    parser.add_argument("--rounds", type=int, default=3, help="of 1, 2, 4, 8 and 16 at once")
    parser.add_argument("--prompt", type=int, default=8000, help="tokens of the one that comes again")
    parser.add_argument("--long", type=int, default=16000, help="tokens of the prompt beside an answer")
    parser.add_argument("--cached", type=int, default=0, help="of those that are in the cache already")
    parser.add_argument("--seconds", type=float, default=60, help="of it at most")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    options.name, options.only = options.name or Path(options.model).stem, options.only.split(",")
    options.model = next((str(file_of(each)) for each in SUBJECTS if each.name == options.model), options.model)
    return options


if __name__ == "__main__":
    main()

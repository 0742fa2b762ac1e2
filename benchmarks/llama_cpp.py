"""Times llama.cpp through xllamacpp, as `divebell bench --json` times divebell: rows of prompts and of decoding.

    python benchmarks/llama_cpp.py MODEL.gguf --threads 2 --prompt 512 --decode 32 --depth 0,4096 --batch 1,8

Runs in whatever environment has xllamacpp; the wheel on PyPI knows no instruction set above AVX2, one built from its
source (`pip install --no-binary xllamacpp xllamacpp`) uses all the processor has. Everything else is llama.cpp's
default: flash attention where it supports it, a float16 cache, weights repacked while loading. The context below a
depth is not read: its rows are those of a short one, repeated (`llama_slot`). A batch is so many requests at once, each
in a slot of its own; its tokens a second are the sum of what the slots tell.
"""

import argparse
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import llama_slot

SHORT = 64  # tokens of a context that is read and repeated


def main() -> None:
    options = _options()
    prompts, depths, batches = (
        [int(n) for n in given.split(",")] for given in (options.prompt, options.depth, options.batch)
    )
    context = max(depths) + max(*prompts, options.decode) + SHORT
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        server = _server(options.model, options.threads, context, max(batches), folder)
        slots = Slots(server, options.vocabulary, Path(folder))
        loading = time.perf_counter() - began
        rows = [_row("prompt", n, d, 1, _prompt(slots, n, d)) for n in prompts if n for d in depths]
        decoded = ((d, b, _decode(slots, options.decode, d, b)) for d in depths for b in batches)
        rows += [_row("decode", options.decode, *row) for row in decoded]
    figures = {"load_seconds": loading, "rows": rows, "memory": {"peak": _peak()}, "built_for": _built_for()}
    json.dump(figures, sys.stdout)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time llama.cpp on one GGUF file.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", default="512")
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--depth", default="0")
    parser.add_argument("--batch", default="1", help="requests that are decoded together")
    parser.add_argument("--vocabulary", type=int, default=30000, help="ids are drawn from the first so many")
    return parser.parse_args()


def _server(model: Path, threads: int, context: int, slots: int, folder: str):
    """context: tokens of each slot."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel = context * slots, slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib, params.fit_params, params.warmup, params.verbosity = 0, False, True, 1
    params.slot_save_path, params.endpoint_slots = f"{folder}/", True
    return xllamacpp.Server(params)


class Slots:
    """Of a server, by their numbers. vocabulary: ids are drawn from the first so many."""

    def __init__(self, server, vocabulary: int, folder: Path):
        self._server, self._vocabulary, self._folder = server, vocabulary, folder
        self._short = folder / "short"
        self.complete(0, self.random(SHORT), 1)
        llama_slot.save(server, 0, self._short)

    def random(self, tokens: int) -> list[int]:
        return [random.randrange(self._vocabulary) for _ in range(tokens)]

    def complete(self, slot: int, prompt: list[int], predict: int) -> dict:
        """What of it is in the slot already is not read again."""
        request = {
            "prompt": prompt,
            "n_predict": predict,
            "id_slot": slot,
            "ignore_eos": True,
            "cache_prompt": True,
            "temperature": 0,
            "samplers": ["top_k"],
            "top_k": 1,
        }
        return self._server.handle_completions(request)["timings"]

    def fill(self, slot: int, depth: int) -> list[int]:
        """The ids that it holds then."""
        ids, path = self.random(depth), self._folder / "long"
        if depth:
            llama_slot.lengthen(self._short, path, ids)
            llama_slot.restore(self._server, slot, path)
            path.unlink()
        return ids


def _prompt(slots: Slots, tokens: int, depth: int) -> float:
    speeds = []
    for _ in range(2):
        timings = slots.complete(0, slots.fill(0, depth) + slots.random(tokens), 1)
        if abs(timings["prompt_n"] - tokens) > 1:
            raise SystemExit(f"llama.cpp computed {timings['prompt_n']} tokens of a prompt of {tokens}")
        speeds.append(timings["prompt_per_second"])
    return median(speeds)


def _decode(slots: Slots, tokens: int, depth: int, batch: int) -> float:
    prompts = [slots.fill(slot, depth) + slots.random(1) for slot in range(batch)]
    with ThreadPoolExecutor(batch) as pool:
        timings = list(pool.map(lambda slot: slots.complete(slot, prompts[slot], tokens + 1), range(batch)))
    if depth and any(each["prompt_n"] > 1 for each in timings):
        raise SystemExit("llama.cpp computed tokens of a context that it had")
    return sum(each["predicted_per_second"] for each in timings)


def _row(kind: str, tokens: int, depth: int, batch: int, tokens_per_s: float) -> dict:
    return {"kind": kind, "tokens": tokens, "depth": depth, "batch": batch, "tokens_per_s": tokens_per_s}


def _peak() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _built_for() -> str:
    import xllamacpp

    return f"xllamacpp {xllamacpp.__version__}: {xllamacpp.get_system_info()}"


if __name__ == "__main__":
    main()

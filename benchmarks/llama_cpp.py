"""Times llama.cpp through xllamacpp, as `divebell bench --json` times divebell: rows of prompts and of decoding.

    python benchmarks/llama_cpp.py MODEL.gguf --threads 2 --prompt 512 --decode 32 --depth 0,4096

Runs in whatever environment has xllamacpp; the wheel on PyPI knows no instruction set above AVX2, one built from its
source (`pip install --no-binary xllamacpp xllamacpp`) uses all the processor has. Everything else is llama.cpp's
default: flash attention where it supports it, a float16 cache, weights repacked while loading.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path
from statistics import median


def main() -> None:
    options = _options()
    counts = {name: [int(n) for n in getattr(options, name).split(",")] for name in ("prompt", "depth")}
    began = time.perf_counter()
    server = _server(options.model, options.threads, max(counts["depth"]) + max(*counts["prompt"], options.decode) + 64)
    loading = time.perf_counter() - began
    _complete(server, _random(options.vocabulary, 32), 2)
    rows = [
        _row("prompt", n, d, _prompt(server, options.vocabulary, n, d))
        for n in counts["prompt"]
        for d in counts["depth"]
    ]
    rows += [_row("decode", options.decode, d, _decode(server, options, d)) for d in counts["depth"]]
    json.dump(
        {"load_seconds": loading, "rows": rows, "memory": {"peak": _peak()}, "built_for": _built_for()}, sys.stdout
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time llama.cpp on one GGUF file.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", default="512")
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--depth", default="0")
    parser.add_argument("--vocabulary", type=int, default=30000, help="ids are drawn from the first so many")
    return parser.parse_args()


def _server(model: Path, threads: int, context: int):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel = context, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib, params.fit_params, params.warmup, params.verbosity = 0, False, True, 1
    return xllamacpp.Server(params)


def _complete(server, prompt: list[int], predict: int, keep: bool = False) -> dict:
    request = {
        "prompt": prompt,
        "n_predict": predict,
        "ignore_eos": True,
        "cache_prompt": keep,
        "temperature": 0,
        "samplers": ["top_k"],
        "top_k": 1,
    }
    return server.handle_completions(request)["timings"]


def _random(vocabulary: int, tokens: int) -> list[int]:
    return [random.randrange(vocabulary) for _ in range(tokens)]


def _prompt(server, vocabulary: int, tokens: int, depth: int) -> float:
    """On top of a context that the server keeps from the request before."""
    context, speeds = _random(vocabulary, depth), []
    for _ in range(2):
        if depth:
            _complete(server, context, 1, keep=True)
        timings = _complete(server, context + _random(vocabulary, tokens), 1, keep=True)
        if abs(timings["prompt_n"] - tokens) > 1:
            raise SystemExit(f"llama.cpp computed {timings['prompt_n']} tokens of a prompt of {tokens}")
        speeds.append(timings["prompt_per_second"])
    return median(speeds)


def _decode(server, options: argparse.Namespace, depth: int) -> float:
    context = _random(options.vocabulary, max(depth, 1))
    return _complete(server, context, options.decode + 1)["predicted_per_second"]


def _row(kind: str, tokens: int, depth: int, tokens_per_s: float) -> dict:
    return {"kind": kind, "tokens": tokens, "depth": depth, "batch": 1, "tokens_per_s": tokens_per_s}


def _peak() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _built_for() -> str:
    import xllamacpp

    return f"xllamacpp {xllamacpp.__version__}: {xllamacpp.get_system_info()}"


if __name__ == "__main__":
    main()

"""LoRA beside blocks of 4 bits, against transformers and peft with the same weights widened, on the same rows.

    python benchmarks/bench_lora.py GSM8K/train.jsonl --rows 8 --rounds 2 --threads 1
    python benchmarks/bench_lora.py GSM8K/train.jsonl --rows 500 --out FOLDER --questions 200 --data BENCHMARKS

The first times both in turn (A B A B), each in a process of its own, one step of the optimizer for 4 rows. peft runs
row by row, so that it computes no padding and keeps one row's logits. The second is a whole run: it trains, and asks
the model GSM8K's first test questions without the adapter and with it; the same command goes on where it broke off.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from divebell.weights.pull import resolve
from peers import machine

BATCH, RANK, ALPHA, RATE = 4, 16, 32, 2e-4
PACK, RAM = 512, "6GB"
NAME = "tuned"


def main() -> None:
    options = _options()
    if options.questions:
        asyncio.run(_whole(options))
        return
    with TemporaryDirectory() as folder:
        rows = _written(options, Path(folder) / "rows.jsonl")
        sides = {"divebell": [str(rows)], "peft": [str(_tokens(options, Path(folder), rows))]}
        runs: dict[str, list] = {name: [] for name in sides}
        for number in range(options.rounds):
            for name, (file,) in sides.items():
                runs[name].append(_run(name, options, file, Path(folder) / f"run{number}"))
                print(name, json.dumps(runs[name][-1]), file=sys.stderr, flush=True)
    print(markdown(runs, machine(options.threads)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows_file", type=Path)
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"), help="of peft's weights")
    parser.add_argument("--questions", type=int, help="of the test, before and after a whole run")
    parser.add_argument("--data", type=Path, help="a folder with the benchmark's rows, as divebell eval takes it")
    parser.add_argument("--out", type=Path, default=Path("lora"))
    return parser.parse_args()


def _written(options: argparse.Namespace, path: Path) -> Path:
    """The first rows as conversations."""
    with options.rows_file.open(encoding="utf-8") as file:
        asked = [json.loads(line) for line, _ in zip(file, range(options.rows), strict=False)]
    turns = [
        [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}] for row in asked
    ]
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns), encoding="utf-8")
    return path


def _tokens(options: argparse.Namespace, folder: Path, rows: Path) -> Path:
    """The same rows as tokens, and which of them are learned."""
    from divebell.tune.run import Run
    from divebell.tune.settings import Settings

    samples = Run("qlora", options.model, rows, Settings(steps=1, held_out=rows)).training
    listed = [{"ids": sample.ids.tolist(), "trained": sample.trained.tolist()} for sample in samples]
    path = folder / "tokens.json"
    path.write_text(json.dumps(listed))
    return path


def _run(side: str, options: argparse.Namespace, rows: str, out: Path) -> dict[str, Any]:
    """tokens, seconds, cpu_seconds (divebell's with loading), bytes (the most at once), losses."""
    load = os.getloadavg()[0]
    command = [
        sys.executable,
        __file__,
        f"--{side}",
        options.model,
        rows,
        str(options.threads),
        str(out),
        options.dtype,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) | {"load_average_before": load}


def divebell(model: str, rows: str, threads: str, out: str, _: str) -> None:
    """In a process of its own."""
    from divebell.tune.model import use_threads
    from divebell.tune.run import Run
    from divebell.tune.settings import Settings

    use_threads(int(threads))
    settings = Settings(batch=BATCH, pack=PACK, rank=RANK, alpha=ALPHA, rate=RATE)
    run, begin = Run("qlora", model, Path(rows), settings, RAM), time.process_time()
    _tell(list(run.train(Path(out))), time.process_time() - begin)


def peft(model: str, rows: str, threads: str, _: str, dtype: str) -> None:
    """In a process of its own."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.set_num_threads(int(threads))
    path = Path(resolve(model))
    widened = transformers.GgufConfig(dequantize=True)
    base = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=getattr(torch, dtype), quantization_config=widened
    )
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, task_type="CAUSAL_LM")
    adapted = get_peft_model(base, config)
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    samples, figures, begin = json.loads(Path(rows).read_text()), [], time.process_time()
    order = np.random.default_rng([0, 0]).permutation(len(samples))
    for first in range(0, len(samples), BATCH):
        started = time.perf_counter()
        chosen = [samples[i] for i in order[first : first + BATCH]]
        terms = sum(sum(sample["trained"][1:]) for sample in chosen)
        loss = sum(_followed(adapted, sample, terms) for sample in chosen)
        optimizer.step()
        optimizer.zero_grad()
        tokens = sum(len(sample["ids"]) for sample in chosen)
        figures.append({"loss": loss, "tokens": tokens, "seconds": time.perf_counter() - started})
    _tell(figures, time.process_time() - begin)


def _followed(model: Any, sample: dict[str, list], terms: int) -> float:
    """The part of the batch's mean loss that a row has; its gradients are added up."""
    import torch

    ids = torch.tensor([sample["ids"]])
    labels = ids.masked_fill(~torch.tensor([sample["trained"]]), -100)
    loss = model(input_ids=ids, labels=labels, num_items_in_batch=terms).loss
    loss.backward()
    return float(loss)


def _tell(figures: list[dict], cpu: float) -> None:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sums = {name: sum(figure[name] for figure in figures) for name in ("tokens", "seconds")}
    print(json.dumps(sums | {"cpu_seconds": cpu, "bytes": most, "losses": [figure["loss"] for figure in figures]}))


def markdown(runs: dict[str, list[dict]], where: dict[str, Any]) -> str:
    lines = ["| | tokens/s | of processor time | peak memory, GB | loss of each step | load average |"]
    lines.append("|---|---|---|---|---|---|")
    for name, own in runs.items():
        for run in own:
            speeds = f"{run['tokens'] / run['seconds']:.1f} | {run['tokens'] / run['cpu_seconds']:.1f}"
            losses = ", ".join(f"{loss:.3f}" for loss in run["losses"])
            lines.append(
                f"| {name} | {speeds} | {run['bytes'] / 1e9:.2f} | {losses} | {run['load_average_before']:.1f} |"
            )
    ratios = [_speed(runs, "divebell", key) / _speed(runs, "peft", key) for key in ("seconds", "cpu_seconds")]
    lines += ["", f"divebell / peft: {ratios[0]:.2f} times by the clock, {ratios[1]:.2f} by processor time (medians)"]
    return "\n".join([*lines, "", f"{where}"])


def _speed(runs: dict[str, list[dict]], name: str, key: str) -> float:
    return median(run["tokens"] / run[key] for run in runs[name])


async def _whole(options: argparse.Namespace) -> None:
    """Questions, training, and the questions again of a server that has the adapter."""
    from soak_server import KEY, Server

    options.out.mkdir(parents=True, exist_ok=True)
    rows, threads = _written(options, options.out / "rows.jsonl"), ["--threads", str(options.threads)]
    test = ["--tasks", "gsm8k", "--data", str(options.data), "--limit", str(options.questions), "--chat", "--json"]
    answers = ["--out", str(options.out / "answers")]
    before = _divebell("eval", options.model, *test, *answers, *threads)
    if not (options.out / "run" / "adapter" / "adapter_model.safetensors").exists():
        limits = ["--pack", str(PACK), "--ram", RAM]
        _divebell("tune", "qlora", options.model, str(rows), "--out", str(options.out / "run"), *limits, *threads)
    adapter = ["--adapter", f"{NAME}={options.out / 'run' / 'adapter'}"]
    server = Server([options.model, *adapter, *threads], 5.0, options.out)
    await server.start()
    try:
        os.environ["OPENAI_API_KEY"] = KEY
        after = _divebell("eval", f"{NAME}={server.url}/v1", *test, *answers, "--key-from", "OPENAI_API_KEY")
    finally:
        server.end()
    metrics = [json.loads(line) for line in (options.out / "run" / "metrics.jsonl").read_text().splitlines()]
    held_out = [row["held_out"] for row in metrics if "held_out" in row]
    print(f"held-out loss {held_out[0]:.4f} -> {held_out[-1]:.4f}")
    print(f"before: {before}\nafter: {after}")


def _divebell(*arguments: str) -> str:
    command = [sys.executable, "-m", "divebell", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    own = {"--divebell": divebell, "--peft": peft}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    own(*sys.argv[2:]) if own else main()

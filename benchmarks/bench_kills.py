"""A run of `divebell tune` that is killed again and again at random moments, against one that nobody disturbs.

Each process gets SIGKILL, some while they load, most within a random part of the steps, so also while a state or a line
is written. The same run is started again each time, and once more to its end. Then every figure of every step, but the
seconds, and every byte of the result must be those of the undisturbed run.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from divebell.models.synth import plan, synth

CONFIG = {
    "model_type": "deepseek_v3",
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "max_position_embeddings": 256,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "bos_token_id": 510,
    "eos_token_id": 511,
}
SAVE_SECONDS = 0.3  # between states, so that some are written in every part of the run
LOADING = 0.2  # share of the kills that come before the first step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="lora,full")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for method in options.methods.split(","):
        with TemporaryDirectory() as folder:
            print(method, json.dumps(compared(Path(folder), method, options.kills, options.steps, options.seed)))


def compared(folder: Path, method: str, kills: int, steps: int, seed: int = 0) -> dict:
    """killed_at: how many steps had been recorded when each kill came."""
    run, whole, broken = prepared(folder, method, steps), folder / "whole", folder / "broken"
    begin = time.monotonic()
    process = started(run, whole)
    while not recorded(whole):
        time.sleep(0.01)
    loading = time.monotonic() - begin
    if process.wait():
        raise SystemExit("the undisturbed run failed")
    training = time.monotonic() - begin - loading
    moments = random.Random(seed)
    killed_at = [killed(run, broken, moments, loading, training / kills) for _ in range(kills)]
    ended = None if (broken / "loss.png").exists() else started(run, broken).wait()
    return {
        "kills": sum(at is not None for at in killed_at),
        "killed_at": killed_at,
        "ended": ended,
        "steps": len(recorded(broken)),
        "same_figures": figures(broken) == figures(whole),
        "same_result": results(broken) == results(whole) != {},
    }


def prepared(folder: Path, method: str, steps: int) -> list[str]:
    """The model and its rows; what a process is told of them."""
    synth(plan(CONFIG, "f32", True), folder / "model")
    rows = [{"prompt": f"after {i} comes", "completion": f" {i + 1}, then {i + 2}"} for i in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [method, str(folder / "model"), str(folder / "rows.jsonl"), str(steps)]


def started(run: list[str], out: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, "--train", *run, str(out)])


def killed(run: list[str], out: Path, moments: random.Random, loading: float, span: float) -> int | None:
    """One life of a run; how many steps were recorded at its end, None where it came to its own end before.

    span: seconds after the first step of this life in which the kill comes.
    """
    process, loaded = started(run, out), moments.random() >= LOADING
    wait = moments.uniform(0, span if loaded else loading)
    before = (out / "metrics.jsonl").stat().st_mtime_ns if (out / "metrics.jsonl").exists() else 0
    while loaded and process.poll() is None and not grown(out, before):
        time.sleep(0.002)
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        process.kill()
    return len(recorded(out)) if process.wait() == -signal.SIGKILL else None


def grown(out: Path, before: int) -> bool:
    """Whether a step was recorded since; the file is written anew once, when its run is taken up."""
    path = out / "metrics.jsonl"
    return path.exists() and path.stat().st_mtime_ns != before and bool(recorded(out))


def recorded(out: Path) -> list[dict]:
    path = out / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def figures(out: Path) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in recorded(out)]


def results(out: Path) -> dict[str, bytes]:
    """Every file of the adapter or the model."""
    return dict(_files(out, "adapter")) | dict(_files(out, "model"))


def _files(out: Path, name: str) -> Iterator[tuple[str, bytes]]:
    for file in sorted((out / name).glob("*")):
        yield f"{name}/{file.name}", file.read_bytes()


def train(method: str, model: str, data: str, steps: str, out: str) -> None:
    """In a process of its own."""
    from divebell.tune.model import use_threads
    from divebell.tune.run import Run
    from divebell.tune.settings import Settings

    use_threads(1)
    settings = Settings(steps=int(steps), batch=4, context=64, pack=64, rank=4, rate=3e-3)
    for _ in Run(method, model, Path(data), settings, save_seconds=SAVE_SECONDS).train(Path(out)):
        pass


if __name__ == "__main__":
    train(*sys.argv[2:]) if sys.argv[1:2] == ["--train"] else main()

"""A tiny model learns to add by reward alone, from chance on, and the curve of it.

It is made here: 2 layers of random weights whose tokens are bytes. `divebell tune full` first shows it the form
of an answer, on sums with random results, so that it knows nothing of adding; then `divebell tune grpo` rewards what
is right.
"""

import argparse
import json
import random
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from divebell.models.synth import plan, synth
from divebell.tune.model import use_threads
from divebell.tune.run import Run
from divebell.tune.settings import Settings

PAIRS = [(a, b) for a in range(10) for b in range(10 - a)]  # 55 sums of one digit
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "vocab_size": 258,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--plot", type=Path, help="a .png of the reward")
    options = parser.parse_args()
    use_threads(1)
    with TemporaryDirectory() as folder:
        rows = learned(Path(folder), options.steps, options.rate)
        if options.plot:
            draw(rows, options.plot)
    for row in (row for row in rows if "held_out" in row):
        print(f"step {row['step']:4}: drawn {row['reward']:.3f}, likeliest {row['held_out']:.2f}, KL {row['kl']:.2f}")
    print(f"last 10 steps: drawn {sum(row['reward'] for row in rows[-10:]) / 10:.3f}")
    print(f"seconds: {sum(row['seconds'] for row in rows):.0f}")


def learned(folder: Path, steps: int, rate: float) -> list[dict]:
    """What was recorded of the steps."""
    synth(plan(CONFIG, "f32", True), folder / "tiny")
    draws = random.Random(0)
    shapes = [{"prompt": f"{a}+{b}=", "completion": str(draws.randrange(10))} for a, b in PAIRS * 20]
    first = Settings(steps=100, batch=64, context=16, rate=3e-3)
    shown = Run("full", str(folder / "tiny"), written(folder / "shapes.jsonl", shapes), first)
    for _ in shown.train(folder / "shown"):
        pass
    sums = written(folder / "sums.jsonl", ({"prompt": f"{a}+{b}=", "answer": a + b} for a, b in PAIRS))
    settings = Settings(steps=steps, batch=28, group=16, answer_tokens=2, context=16, rate=rate, held_out=sums)
    return list(Run("grpo", str(shown.result), sums, settings).train(folder / "sums"))


def written(path: Path, rows: Iterable[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def draw(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot([row["step"] for row in rows], [row["reward"] for row in rows], label="drawn answers")
    likeliest = [(row["step"], row["held_out"]) for row in rows if "held_out" in row]
    axes.plot(*zip(*likeliest, strict=True), marker=".", label="likeliest answers, all 55 sums")
    axes.set(xlabel="step", ylabel="share that is right", ylim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()

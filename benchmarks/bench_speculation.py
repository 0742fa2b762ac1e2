"""Tokens per second with and without guesses, in turn: a text that is repeated, one that is changed, and free text.

    python benchmarks/bench_speculation.py [--model smollm2-135m] [--rounds 3] [--tokens 400]

Without guesses: the same engine, in which nothing is ever found worth guessing.
"""

import argparse
from pathlib import Path
from statistics import median

import divebell
from divebell.engine.completion import Receipt
from divebell.engine.llm import LLM
from divebell.engine.speculative import Profit

CODE = (Path(divebell.__file__).parent / "text" / "stops.py").read_text()[:1800]
REPEAT = f"Repeat this code exactly, with no changes:\n\n```python\n{CODE}\n```\n"
RENAME = f"Write this code with other names of functions:\n\n```python\n{CODE}\n```\n"
STORY = "Write a long story about a lighthouse keeper who finds a message in a bottle."
TASKS = {
    "repeat code": (REPEAT, {"temperature": 0.0}),
    "rename functions": (RENAME, {"temperature": 0.0}),
    "story": (STORY, {"temperature": 0.8, "seed": 3}),
    "story, greedy": (STORY, {"temperature": 0.0}),
}


def main() -> None:
    options = _options()
    worthwhile = Profit.worthwhile
    with divebell.load(options.model, context=4096) as llm:
        for task in TASKS:
            rates: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(options.rounds):
                for guesses in rates:
                    Profit.worthwhile = worthwhile if guesses else _nothing
                    receipt = _run(llm, task, options.tokens)
                    rates[guesses].append(receipt.tokens_per_second)
            without, with_guesses = median(rates[False]), median(rates[True])
            print(
                f"{task:17} {without:6.1f} -> {with_guesses:6.1f} tokens/s, {with_guesses / without:.2f} times; "
                f"of the last: {receipt.drafted_tokens} guessed, {receipt.accepted_tokens} right, "
                f"{receipt.completion_tokens} tokens in all"
            )


def _run(llm: LLM, task: str, tokens: int) -> Receipt:
    prompt, sampling = TASKS[task]
    return llm.chat([{"role": "user", "content": prompt}], max_tokens=tokens, ignore_eos=True, **sampling).receipt


def _nothing(self: Profit, guesses: list, requests: int, before: int) -> list[int]:
    return []


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=400)
    return parser.parse_args()


if __name__ == "__main__":
    main()

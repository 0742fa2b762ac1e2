"""Perplexity of one GGUF file on one text, by divebell and by llama.cpp, chunk for chunk on the same tokens.

    python benchmarks/perplexity_peer.py smollm2-135m wiki.valid.txt --tokens 20000

Prints both figures and their ratio, the mean absolute difference of single log-probabilities, and whether the two
tokenizers agree. llama.cpp's tool reads `context` tokens a chunk and scores the second half: so do we.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import divebell
from divebell.engine.perplexity import Perplexity, chunks
from divebell.engine.sampler import log_sums
from divebell.weights.pull import resolve
from peer_logits import LlamaCpp


def main() -> None:
    arguments = _arguments()
    text = arguments.text.read_text().removesuffix("\n")
    peer = LlamaCpp(resolve(arguments.model), arguments.context, arguments.threads)
    ids = peer.tokenize(text)
    llm = divebell.load(
        arguments.model, weights=arguments.weights, threads=arguments.threads, context=arguments.context
    )
    same = llm.tokenizer.encode(text) == ids
    ours, theirs, difference = _compare(llm, peer, ids[: arguments.tokens], arguments.context)
    print(
        json.dumps(_figures(ours, theirs, difference) | {"same_tokens": same, "weights": arguments.weights}, indent=2)
    )


def _compare(llm, peer: LlamaCpp, ids: list[int], context: int) -> tuple[Perplexity, Perplexity, float]:
    ours, theirs, differences = Perplexity(), Perplexity(), []
    for chunk in chunks(ids, context, peer.begin):
        first = context // 2 + 1
        own, other = llm.score(chunk, first), peer_score(peer, chunk, first)
        ours.add(own)
        theirs.add(other)
        differences.append(np.abs(own - other).mean())
        print(f"{ours.tokens} tokens: {ours.value:.4f} and {theirs.value:.4f}", end="\r", flush=True)
    print()
    return ours, theirs, float(np.mean(differences))


def peer_score(peer: LlamaCpp, ids: list[int], first: int) -> np.ndarray:
    """llama.cpp's log-probabilities of ids[first:]."""
    logits = peer.logits(ids, first - 1)[:-1]
    return logits[np.arange(len(logits)), ids[first:]].astype(np.float64) - log_sums(logits)


def _figures(ours: Perplexity, theirs: Perplexity, difference: float) -> dict[str, object]:
    return {
        "divebell": ours.value,
        "llama.cpp": theirs.value,
        "ratio": ours.value / theirs.value,
        "uncertainty": ours.uncertainty,
        "tokens": ours.tokens,
        "mean_difference_of_logprobs": difference,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", default="stored")
    return parser.parse_args()


if __name__ == "__main__":
    main()

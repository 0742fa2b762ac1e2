"""Answers of a model at temperature 1 under random JSON schemas: how many are valid, and what the masks cost.

    python benchmarks/bench_grammar.py [--model smollm2-135m] [--first 0] [--schemas 500] [--batch 16]

Validity is checked by the `jsonschema` package (the `test` extra). The time of a mask is that of taking a token and of
finding which may come next; the sampler's own time is not in it. The frequency penalty keeps a small model from
repeating itself without end where a schema leaves that open: digits of a fraction, a tree within a tree.
"""

import argparse
import json
from statistics import mean, quantiles
from time import perf_counter

import jsonschema

import divebell
from divebell.engine import grammar
from divebell.engine.completion import Completion
from divebell.engine.llm import LLM
from random_schemas import random_schema

PROMPT = "An example that fits the schema, as JSON:\n"
SAMPLING = {"temperature": 1.0, "frequency_penalty": 0.5, "max_tokens": 3000}


def main() -> None:
    options = _options()
    masks = _timed(grammar.Governor, "take")
    compiled = _timed(grammar.Grammars, "governor")
    seeds = range(options.first, options.first + options.schemas)
    valid, tokens, begin = 0, 0, perf_counter()
    with divebell.load(options.model, context=4096) as llm:
        for start in range(0, len(seeds), options.batch):
            schemas = {seed: random_schema(seed) for seed in seeds[start : start + options.batch]}
            for seed, completion in zip(schemas, _answers(llm, schemas), strict=True):
                tokens += len(completion.token_ids)
                problem = _problem(schemas[seed], completion)
                valid += not problem
                if problem:
                    print(f"schema {seed}: {problem}: {completion.text[:200]!r}")
    seconds = perf_counter() - begin
    print(f"{valid} of {len(seeds)} valid, {tokens:,} tokens in {seconds:.1f} s, load included")
    print(f"schema to first mask  mean {1e3 * mean(compiled):.2f} ms, most {1e3 * max(compiled):.2f} ms")
    print(
        f"mask for a token      mean {1e3 * mean(masks):.3f} ms, 99 % within {1e3 * quantiles(masks, n=100)[98]:.3f} ms"
    )
    print(f"masks' share          {sum(masks) / seconds:.1%} of the time")


def _answers(llm: LLM, schemas: dict[int, dict]) -> list[Completion]:
    streams = [llm.stream(PROMPT, json_schema=schema, seed=seed, **SAMPLING) for seed, schema in schemas.items()]
    for stream in streams:
        for _ in stream:
            pass
    return [stream.completion for stream in streams]


def _problem(schema: dict, completion: Completion) -> str | None:
    validator = jsonschema.Draft202012Validator
    try:
        validator(schema, format_checker=validator.FORMAT_CHECKER).validate(json.loads(completion.text))
    except (ValueError, jsonschema.ValidationError) as problem:
        return f"{completion.finish_reason}, {str(problem).splitlines()[0]}"
    return None


def _timed(owner: type, name: str) -> list[float]:
    """Seconds of each call to a method from now on."""
    seconds: list[float] = []
    method = getattr(owner, name)

    def timed(*arguments):
        begin = perf_counter()
        try:
            return method(*arguments)
        finally:
            seconds.append(perf_counter() - begin)

    setattr(owner, name, timed)
    return seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--schemas", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    main()

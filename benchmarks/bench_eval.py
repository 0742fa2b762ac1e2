"""Benchmarks by divebell's engine and by lm-eval with transformers, in turn, on the same weights and questions.

    python benchmarks/bench_eval.py --data DIR [--model smollm2-135m] [--tasks mmlu] [--questions 100] [--rounds 2]

Times are of the clock, and of the processor, all threads together, which says more on a machine that others use too.
transformers computes in float32 on the weights of the file, dequantized; divebell on the file as it is, and with
--weights f32 in float32 too. Both score the same requests of lm-eval, and neither keeps anything from round to round.
Needs the extra `test`.
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import divebell
from divebell.evaluate.in_process import EngineLM
from divebell.evaluate.intervals import difference, wilson
from divebell.evaluate.question import Manner, Question, question
from divebell.evaluate.results import ordered
from divebell.evaluate.tasks import benchmarks

Seconds = tuple[float, float]
Answers = list[tuple[float, list]]  # of each question: its score, and what was answered


def main() -> None:
    options = _options()
    with divebell.load(options.model) as llm:
        file = next(iter(llm.info.files))
    reference = _reference(file, options.batch)
    for task in options.tasks.split(","):
        print(f"\n{task}")
        asked = _questions(options, task)
        _check_tokens(options.model, reference, asked[0])
        _compare(options, reference, asked)


def _compare(options: argparse.Namespace, reference, asked: list[Question]) -> None:
    took: dict[str, list[Seconds]] = {"divebell": [], "transformers": []}
    for _ in range(options.rounds):
        ours = _timed(took["divebell"], lambda: _by_divebell(options, asked))
        theirs = _timed(took["transformers"], lambda: _scored(reference, asked))
    _show(took, ours, theirs)


def _questions(options: argparse.Namespace, name: str) -> list[Question]:
    [benchmark] = benchmarks([name], options.data, None)
    manner = Manner(generation={"max_gen_toks": options.max_tokens} if options.max_tokens else {})
    return [question(task, row, 0, manner) for task, row in benchmark.questions[: options.questions]]


def _reference(file: Path, batch: int):
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="float32")
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, device="cpu")


def _check_tokens(model: str, reference, first: Question) -> None:
    context, _ = first.instances[0].args
    with divebell.load(model) as llm:
        if llm.tokenizer.encode(context) != reference.tok_encode(context):
            raise SystemExit("transformers makes other tokens of this file's vocabulary: nothing can be compared")


def _timed(took: list[Seconds], work) -> Answers:
    """What the work found; how long it says that it took is noted."""
    seconds, found = work()
    took.append(seconds)
    return found


def _by_divebell(options: argparse.Namespace, asked: list[Question]) -> tuple[Seconds, Answers]:
    """Loaded anew, so that its prefix cache is empty."""
    with divebell.load(options.model, weights=options.weights) as llm:
        return _scored(EngineLM(llm), asked)


def _scored(lm, asked: list[Question]) -> tuple[Seconds, Answers]:
    begun = perf_counter(), process_time()
    instances = [instance for own in asked for instance in own.instances]
    answers = getattr(lm, instances[0].request_type)(instances, disable_tqdm=True)
    seconds = perf_counter() - begun[0], process_time() - begun[1]
    found = []
    for own in asked:
        responses, answers = answers[: len(own.instances)], answers[len(own.instances) :]
        scores = own.scores(responses)
        found.append((scores[ordered(scores)[0]], responses))
    return seconds, found


def _show(took: dict[str, list[Seconds]], ours: Answers, theirs: Answers) -> None:
    first, second = ([score for score, _ in answers] for answers in (theirs, ours))
    for name, scores in (("divebell", second), ("transformers", first)):
        found = wilson(int(sum(scores)), len(scores))
        seconds = "; ".join(f"{clock:.1f} s, {processor:.1f} s of the processor" for clock, processor in took[name])
        print(f"{name:13} {found.value:.1%} ({found.low:.1%} to {found.high:.1%}), {seconds}")
    apart = difference(first, second)
    low, high = apart.difference.low * 100, apart.difference.high * 100
    print(f"divebell against transformers: {apart.difference.value * 100:+.1f} points ({low:+.1f} to {high:+.1f}),")
    print(f"{apart.better} questions better, {apart.worse} worse, p = {apart.p:.3g}", flush=True)
    if isinstance(ours[0][1][0], str):
        print(f"the same text to the letter: {sum(a == b for (_, a), (_, b) in zip(ours, theirs, strict=True))}")
    clock, processor = (
        median(one[kind] for one in took["transformers"]) / median(one[kind] for one in took["divebell"])
        for kind in range(2)
    )
    print(f"{clock:.1f} times as fast by the clock, {processor:.1f} by the processor")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tasks", default="mmlu")
    parser.add_argument("--weights", default="stored")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, help="of a generated answer; by default as the benchmark says")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    return parser.parse_args()


if __name__ == "__main__":
    main()

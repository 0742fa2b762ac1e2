"""The engine as lm-eval sees it, held against transformers under lm-eval's own HFLM on the same weights."""

import lm_eval
import pytest
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from divebell.errors import BadInput
from divebell.evaluate.in_process import EngineLM, InProcess
from divebell.evaluate.question import Manner, question
from divebell.evaluate.tasks import benchmarks

PAIRS = [
    ("Question: who?\nAnswer:", " A"),
    ("Question: who?\nAnswer:", " B"),
    ("Question: who?\nAnswer:", " the lazy dog"),
    ("a space at the end ", "moves over"),
    ("", "nothing before it"),
    ("天地玄黄", "宇宙洪荒"),
    ("long " * 2000, "and its end"),
]


@pytest.fixture(scope="module")
def reference(talker) -> HFLM:
    model = transformers.AutoModelForCausalLM.from_pretrained(talker)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(talker / "tokenizer.json"), eos_token="<|im_end|>"
    )
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, device="cpu")


def asked(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, own, 0) for own in arguments]


def test_log_likelihoods_are_those_of_transformers(llm, reference):
    ours = EngineLM(llm).loglikelihood(asked("loglikelihood", *PAIRS), disable_tqdm=True)
    theirs = reference.loglikelihood(asked("loglikelihood", *PAIRS), disable_tqdm=True)
    for pair, (logprob, greedy), (expected, expected_greedy) in zip(PAIRS, ours, theirs, strict=True):
        assert logprob == pytest.approx(expected, abs=1e-3), pair
        assert greedy == expected_greedy


def test_rolling_log_likelihoods_are_those_of_transformers(llm, reference):
    texts = [("A few words.",), ("word " * 3000,)]  # more than the context of 2,048
    ours = EngineLM(llm).loglikelihood_rolling(asked("loglikelihood_rolling", *texts))
    theirs = reference.loglikelihood_rolling(asked("loglikelihood_rolling", *texts), disable_tqdm=True)
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_generated_texts_are_those_of_transformers(llm, reference):
    wanted = [(f"after {i} comes", {"until": ["e", "\n"], "max_gen_toks": 12, "do_sample": False}) for i in range(5)]
    ours = EngineLM(llm).generate_until(asked("generate_until", *wanted))
    assert ours == reference.generate_until(asked("generate_until", *wanted), disable_tqdm=True)


@pytest.mark.parametrize("name", ["mmlu_anatomy", "xcopa_sw"])
def test_accuracy_under_lm_eval_is_that_of_transformers(name, llm, reference, rows):
    def results(lm):
        [benchmark] = benchmarks([name], rows, None)
        known = TaskManager(include_defaults=False)
        return lm_eval.simple_evaluate(lm, tasks=[*benchmark.tasks], task_manager=known, bootstrap_iters=0)

    ours, theirs = results(EngineLM(llm)), results(reference)
    [task] = ours["results"]
    assert ours["results"][task]["acc,none"] == theirs["results"][task]["acc,none"]
    assert [s["target"] for s in ours["samples"][task]] == [s["target"] for s in theirs["samples"][task]]


def test_choices_of_one_token_are_read_once_and_examples_for_all(llm, rows):
    [benchmark] = benchmarks(["mmlu_anatomy"], rows, None)
    model = InProcess(llm, "tiny", "f32")
    made = [question(task, row, 0, Manner()) for task, row in benchmark.questions]
    for one in made:
        model.begin(one)
    answered = []
    while found := list(model.finished()):
        answered += found
    assert sorted(one.question.key for one in answered) == [one.key for one in made]
    read = sum(one.cost.prompt_tokens for one in answered)
    assert read == sum(len(llm.tokenizer.encode("".join(one.instances[0].args))) - 1 for one in made)
    assert sum(one.cost.cached_tokens for one in answered) > read / 2
    assert all(one.cost.joules > 0 and one.cost.seconds > 0 for one in answered)


def test_an_answer_that_can_not_fit_is_told(llm):
    with pytest.raises(BadInput, match="answers may have 4096 tokens, but the context is 2048"):
        EngineLM(llm).generation("a", {"until": [], "max_gen_toks": 4096})


def test_what_is_not_answered_in_time_is_not_waited_for(llm, rows):
    [asked] = benchmarks(["gsm8k"], rows, None)
    model = InProcess(llm, "tiny", "f32")
    model.begin(question(asked.tasks[0], 0, 0, Manner()))
    assert list(model.finished(until=0.0)) == []
    assert len(list(model.finished())) == 1


def test_questions_that_are_given_up_leave_no_pages(llm, rows):
    [benchmark] = benchmarks(["gsm8k"], rows, None)
    model = InProcess(llm, "tiny", "f32")
    for task, row in benchmark.questions:
        model.begin(question(task, row, 0, Manner()))
    llm.engine.step()
    model.close()
    assert not llm.engine.busy
    llm.engine.check_integrity()

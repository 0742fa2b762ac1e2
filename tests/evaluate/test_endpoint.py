"""A model behind a server: a fake one, and divebell's own, whose results are those of the engine in this process."""

import json
import threading
import time

import pytest
import servers
from fake_server import Fake, serving
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance

import divebell
from divebell.costs.prices import Price
from divebell.errors import BadInput, EndpointError
from divebell.evaluate.client import TRIES, Client
from divebell.evaluate.endpoint import AT_ONCE, Endpoint
from divebell.evaluate.in_process import InProcess
from divebell.evaluate.question import Manner, Question
from divebell.evaluate.run import MOST_REFUSED, Plan
from divebell.evaluate.scoring import figures, score
from divebell.evaluate.tasks import benchmarks

BROKEN = (500, {}, b"oops")
FIELDS = ("index", "text", "message", "content", "logprobs", "tokens", "token_logprobs", "top_logprobs")
FIELDS += ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "joules")
ECHO = st.fixed_dictionaries(
    {
        "tokens": st.just(["a", " b"]),
        "token_logprobs": st.lists(st.none() | st.floats(), min_size=2, max_size=2),
        "top_logprobs": st.lists(st.none() | st.dictionaries(st.text(max_size=1), st.floats(), max_size=2), max_size=2),
    }
)


@pytest.fixture
def fake():
    with serving(Fake()) as one:
        yield one


@pytest.fixture
def run(rows, tmp_path):
    def run(model, *tasks: str, generation: dict | None = None, **plan):
        asked = benchmarks(list(tasks), rows, None)
        manner = Manner(model.chat_template, generation or {})
        return score(model, asked, manner, Plan(**plan), tmp_path / "out", lambda _: None)

    return run


def endpoint(url: str, chat: bool = False, model: str = "fake", **more) -> Endpoint:
    return Endpoint(Client(url, None, 20.0, first_wait=0.001), model, chat, **more)


def answers(outcome) -> list[dict]:
    told = [row for rows in outcome.rows.values() for row in rows]
    return sorted(told, key=lambda row: (row["task"], row["id"], row["sample"]))


def test_generated_answers_come_from_completions(fake, run):
    fake.answer = lambda body: "It is\n#### 4\n\nQuestion: next"
    outcome = run(endpoint(fake.url), "gsm8k", limit=3)
    path, _, body = fake.asked[0]
    assert path == "/v1/completions"
    assert body["stop"] == ["Question:", "</s>", "<|im_end|>"]
    assert (body["temperature"], body["model"]) == (0.0, "fake")
    assert body["prompt"].endswith("Answer:")
    assert [row["answer"] for row in answers(outcome)] == [["It is\n#### 4\n\n"]] * 3
    assert [row["scores"]["exact_match, strict-match"] for row in answers(outcome)] == [0.0, 0.0, 1.0]


def test_a_chat_is_asked_with_its_messages(fake, run):
    outcome = run(endpoint(fake.url, chat=True), "gsm8k", limit=2)
    path, _, body = fake.asked[0]
    assert path == "/v1/chat/completions"
    assert [one["role"] for one in body["messages"]] == ["user", "assistant"] * 5 + ["user"]
    assert outcome.results[0].questions == 2


def refusing(field: str, advice: str = "") -> bytes:
    message = f"Unsupported parameter: '{field}' is not supported with this model. {advice}"
    return json.dumps({"error": {"message": message, "param": field, "code": "unsupported_parameter"}}).encode()


def test_a_chat_that_refuses_old_fields_is_asked_without_them(fake, run):
    def picky(body):
        for old in ("max_tokens", "stop", "top_p"):
            if old in body:
                return 400, {}, refusing(old, "Use 'max_completion_tokens' instead." if old == "max_tokens" else "")
        return None

    fake.refuse = picky
    fake.answer = lambda body: "It is\n#### 4\n\nQuestion: next"
    drawn = {"temperature": 1.0, "top_p": 0.95, "do_sample": True, "max_gen_toks": 7}
    outcome = run(endpoint(fake.url, chat=True), "gsm8k", generation=drawn, limit=3, samples=4)
    assert outcome.problem is None
    assert [row["answer"] for row in answers(outcome)] == [["It is\n#### 4\n\n"]] * 12
    bodies = [body for _, _, body in fake.asked]
    taken = [body for body in bodies if not {"max_tokens", "stop", "top_p"} & set(body)]
    assert [body["max_completion_tokens"] for body in taken] == [7] * 12
    assert len([body for body in bodies if "max_tokens" in body]) <= AT_ONCE


@pytest.mark.parametrize("field", ["temperature", "model", "max_completion_tokens"])
def test_a_chat_that_refuses_another_field_is_told(fake, run, field):
    fake.refuse = lambda body: (400, {}, refusing(field))
    assert f"'{field}' is not supported" in str(run(endpoint(fake.url, chat=True), "gsm8k", limit=1).problem)
    assert len(fake.asked) == 1


def test_a_chat_that_says_nothing_is_wrong(fake, run):
    fake.answer = lambda body: None
    outcome = run(endpoint(fake.url, chat=True), "gsm8k", limit=2)
    assert [row["answer"] for row in answers(outcome)] == [[""]] * 2


def test_half_a_character_is_kept_as_it_came(fake, run):
    fake.answer = lambda body: "\ud800 #### 0"
    assert run(endpoint(fake.url), "gsm8k", limit=2).problem is None
    again = run(endpoint(fake.url), "gsm8k", limit=2)
    assert (again.found, answers(again)[0]["answer"]) == (2, ["\ud800 #### 0"])


def test_the_beginning_of_an_answer_is_the_models_own_in_a_chat(fake, run, contained):
    fake.answer = lambda body: "Sure:\n```python\ndef add(n):\n    return n + 1\n```\n"
    outcome = run(endpoint(fake.url, chat=True), "humaneval_instruct")
    _, _, body = fake.asked[0]
    assert [one["role"] for one in body["messages"]] == ["user"]
    assert "stop" not in body
    assert [row["scores"]["pass@1"] for row in answers(outcome)] == [0.0, 1.0, 0.0]


def test_samples_have_seeds_and_a_temperature(fake, run):
    drawn = {"temperature": 0.6, "do_sample": True, "max_gen_toks": 7}
    run(endpoint(fake.url), "gsm8k", generation=drawn, limit=1, samples=3)
    bodies = [body for _, _, body in fake.asked]
    assert {(body["temperature"], body["max_tokens"]) for body in bodies} == {(0.6, 7)}
    assert len({body["seed"] for body in bodies}) == 3


def test_choices_are_scored_by_their_log_probabilities(fake, run):
    outcome = run(endpoint(fake.url), "mmlu_anatomy", limit=4)
    _, _, body = fake.asked[0]
    assert (body["echo"], body["logprobs"], body["max_tokens"]) == (True, 1, 0)
    assert [prompt[-2:] for prompt in body["prompt"]] == [" A", " B", " C", " D"]
    assert [row["scores"]["acc"] for row in answers(outcome)] == [0.0, 1.0, 0.0, 0.0]
    assert answers(outcome)[0]["answer"][1] == (-2.5, False)


def test_tokens_and_their_price_are_counted(fake, run):
    price = Price("fake", "", 0.1, 1.0, 10.0, "", "", "")
    outcome = run(endpoint(fake.url, price=price), "gsm8k", limit=2)
    cost = outcome.results[0].cost
    assert (cost["prompt_tokens"], cost["cached_tokens"], cost["completion_tokens"]) == (200, 80, 20)
    assert cost["dollars"] == pytest.approx(2 * (40 * 0.1 + 60 * 1.0 + 10 * 10.0) / 1e6)
    assert cost["seconds"] > 0
    assert (cost["joules"], cost["grams_co2"]) == (None, None)


def test_what_is_not_told_is_not_known(fake, run):
    fake.faults = [(200, {}, b'{"choices": [{"text": "#### 0"}]}')]
    cost = run(endpoint(fake.url), "gsm8k", limit=1).results[0].cost
    assert (cost["prompt_tokens"], cost["dollars"]) == (None, None)


@pytest.mark.parametrize("told", ["1e999", "-1", "NaN", "1" + "0" * 400])
def test_figures_that_can_not_be_are_not_known(fake, run, told):
    usage = f'{{"prompt_tokens": {told}, "completion_tokens": 1}}'
    body = f'{{"choices": [{{"text": "4"}}], "usage": {usage}, "receipt": {{"joules": {told}}}}}'
    fake.faults = [(200, {}, body.encode())]
    price = Price("fake", "", None, 1.0, 10.0, "", "", "")
    cost = run(endpoint(fake.url, price=price), "gsm8k", limit=1).results[0].cost
    assert (cost["prompt_tokens"], cost["joules"], cost["dollars"]) == (None, None, None)


def test_what_was_answered_before_a_server_failed_is_kept_and_not_asked_again(fake, run):
    fake.faults = [None, None, BROKEN, None] + [BROKEN] * 1000
    first = run(endpoint(fake.url), "mmlu_anatomy")
    assert isinstance(first.problem, EndpointError)
    assert "status 500" in str(first.problem)
    kept = first.results[0].questions
    assert 1 <= kept < 12
    fake.faults, fake.asked = [], []
    second = run(endpoint(fake.url), "mmlu_anatomy")
    assert second.problem is None
    assert (second.found, second.results[0].questions, len(fake.asked)) == (kept, 12, 12 - kept)


FILTERED = (400, {}, b'{"error": {"message": "content filter"}}')


def refuses(words: str):
    return lambda body: FILTERED if words in body["prompt"].rpartition("Question: ")[2] else None


def test_a_question_that_a_server_refuses_is_kept_as_refused_and_not_asked_again(fake, run):
    fake.refuse = refuses("3 apples")
    first = run(endpoint(fake.url), "gsm8k")
    assert (first.problem, first.results[0].questions, first.results[0].of) == (None, 5, 6)
    [row] = first.refused
    assert (row["task"], row["id"]) == ("gsm8k", 3)
    assert "status 400: content filter" in row["refused"]
    fake.asked = []
    second = run(endpoint(fake.url), "gsm8k")
    assert (second.problem, second.refused, second.results[0].questions, fake.asked) == (None, [row], 5, [])
    assert figures([second])["models"][0]["refused"][0]["id"] == 3


def test_the_last_question_of_a_run_may_be_refused(fake, run):
    run(endpoint(fake.url), "gsm8k", limit=3)
    fake.refuse = refuses("3 apples")
    outcome = run(endpoint(fake.url), "gsm8k", limit=4)
    assert (outcome.problem, outcome.results[0].questions, len(outcome.refused)) == (None, 3, 1)


def test_a_server_that_refuses_all_ends_the_run_and_is_asked_again_later(fake, run):
    fake.refuse = refuses("apples")
    outcome = run(endpoint(fake.url), "gsm8k")
    assert (str(outcome.problem)[-14:], outcome.refused, outcome.results) == ("content filter", [], [])
    fake.refuse = lambda body: None
    assert run(endpoint(fake.url), "gsm8k").results[0].questions == 6


def test_a_server_that_begins_to_refuse_all_ends_the_run(fake, run):
    fake.faults = [None] * 3 + [FILTERED] * 100
    outcome = run(endpoint(fake.url), "gsm8k", samples=8, generation={"temperature": 1.0})
    assert isinstance(outcome.problem, EndpointError)
    assert len(outcome.refused) < MOST_REFUSED


def test_time_that_is_up_gives_up_what_is_under_way(fake, run):
    def slow(body):
        time.sleep(0.3)
        return "#### 0"

    fake.answer = slow
    outcome = run(endpoint(fake.url), "gsm8k", samples=40, generation={"temperature": 1.0}, budget=0.1)
    assert outcome.problem is None
    assert sum(len(own) for own in outcome.rows.values()) <= 8


def test_time_that_is_up_is_not_waited_out_for_a_server_that_says_nothing(fake, run):
    silence = threading.Event()
    fake.answer = lambda body: str(silence.wait(60))
    outcome = run(endpoint(fake.url), "gsm8k", budget=0.2)
    silence.set()
    assert (outcome.problem, outcome.results) == (None, [])


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ({"choices": [{"text": "a"}] * 4}, "does not echo the prompt with log-probabilities"),
        ({"choices": []}, "answered without the 4 choices that were asked for"),
        ({"choices": [1, 2, 3, 4]}, "answered without the 4 choices"),
        ({}, "answered without the 4 choices"),
    ],
)
def test_a_server_without_log_probabilities_is_refused(fake, run, reply, says):
    fake.faults = [(200, {}, json.dumps(reply).encode())] * 50
    outcome = run(endpoint(fake.url), "mmlu_anatomy")
    assert says in str(outcome.problem)


def test_a_server_without_completions_is_asked_by_chat(fake, run):
    fake.faults = [(404, {}, b"{}")] * 50
    assert "; --chat asks through chat/completions instead" in str(run(endpoint(fake.url), "gsm8k").problem)


def test_log_probabilities_of_a_chat_can_not_be_had(fake, run):
    outcome = run(endpoint(fake.url, chat=True), "mmlu_anatomy")
    assert isinstance(outcome.problem, BadInput)
    assert "mmlu_anatomy needs log-probabilities of texts, which no server gives for a chat" in str(outcome.problem)
    assert not fake.asked


@pytest.mark.parametrize("body", [b'{"choices": [{}]}', b'{"choices": 3}', b'{"choices": [{"text": null}]}'])
def test_garbage_within_an_answer_is_told(fake, run, body):
    fake.faults = [(200, {}, body)] * 50
    assert isinstance(run(endpoint(fake.url), "gsm8k").problem, EndpointError)


class Says(Client):
    """Answers everything with one JSON object."""

    def __init__(self, answer: dict):
        self.url, self._key, self._answer = "http://nowhere", None, answer

    async def ask(self, path, body=None):
        return self._answer

    async def close(self):
        """There is nothing open."""


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.sampled_from(["", "a b", "bytes:\\xe5", "\ud800"]),
    lambda value: st.lists(value, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), value, max_size=4),
    max_leaves=12,
)
CHOICE = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON) | {"text": st.just("a b"), "logprobs": ECHO})


@given(
    st.fixed_dictionaries(
        {"choices": st.lists(CHOICE | JSON, max_size=2) | JSON}, optional={"usage": JSON, "receipt": JSON}
    )
)
def test_any_answer_is_an_answer_or_is_refused(answer):
    for kind, arguments in (("generate_until", ("a", {"until": ["b"]})), ("loglikelihood", ("a", " b"))):
        for chat in (False, True):
            model = Endpoint(Says(answer), "m", chat, Price("m", "", 0.1, 1, 2, "", "", ""))
            context = json.dumps([{"role": "user", "content": "a"}]) if chat else arguments[0]
            instance = Instance(kind, {}, (context, arguments[1]), 0)
            try:
                model.begin(Question(None, ("t", 0, 0), [instance], "d"))
                [answered] = model.finished()
                assert len(answered.responses) == 1
            except (EndpointError, BadInput):
                pass
            finally:
                model.close()


def test_a_server_is_not_asked_more_often_than_said(fake, run):
    fake.faults = [BROKEN] * 1000
    run(endpoint(fake.url), "gsm8k", limit=1)
    assert len(fake.asked) == TRIES


@pytest.fixture(scope="module")
def own(talker):
    service = servers.service_of({})
    service.add("tiny", divebell.load(talker, weights="f32", threads=1))
    with servers.running(service) as one:
        yield one


@pytest.mark.parametrize(
    ("task", "chat"), [("mmlu_anatomy", False), ("xcopa_sw", False), ("gsm8k", False), ("gsm8k", True)]
)
def test_divebells_own_server_gives_what_the_engine_gives(own, run, task, chat):
    [served] = own.service.models.values()
    here = run(InProcess(served.llm, "here", "f32", chat), task, limit=6, generation={"max_gen_toks": 12})
    there = run(endpoint(f"{own.url}/v1", chat, "tiny"), task, limit=6, generation={"max_gen_toks": 12})
    assert there.problem is None
    for ours, theirs in zip(answers(here), answers(there), strict=True):
        if task == "gsm8k":
            assert ours["answer"] == theirs["answer"]
        else:
            assert [value for value, _ in theirs["answer"]] == pytest.approx([v for v, _ in ours["answer"]], abs=2e-3)
            assert ours["scores"] == theirs["scores"]
    ours, theirs = here.results[0].cost, there.results[0].cost
    assert theirs["joules"] > 0
    if task == "gsm8k":
        assert ours["prompt_tokens"] == theirs["prompt_tokens"]

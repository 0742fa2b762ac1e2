import gc
import threading

import numpy as np
import pytest
from fakes import VOCABULARY, continuation

from divebell.errors import BadInput, Mismatch


def letters(ids) -> str:
    return "".join(chr(i + 32) for i in ids)


def test_greedy_text_is_the_models_own(llm):
    completion = llm.generate([1, 2, 3], max_tokens=20, temperature=0)
    assert list(completion.token_ids) == continuation([1, 2, 3], 20)
    assert completion.text == letters(completion.token_ids)
    assert completion.finish_reason == "length"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens, completion.usage.total_tokens) == (
        3,
        20,
        23,
    )
    assert completion.logprobs is None


def test_text_and_its_ids_are_the_same_prompt(llm):
    ids = llm.tokenizer.encode("Hello")
    assert llm.generate("Hello", max_tokens=5).token_ids == llm.generate(np.array(ids), max_tokens=5).token_ids


def test_the_receipt_adds_up(llm):
    receipt = llm.generate([1, 2, 3], max_tokens=4, seed=11).receipt
    assert (receipt.prompt_tokens, receipt.cached_tokens, receipt.completion_tokens, receipt.seed) == (3, 0, 4, 11)
    assert receipt.computed_tokens == 6  # the last token of an answer is never run
    assert min(receipt.waited_seconds, receipt.prompt_seconds, receipt.completion_seconds) >= 0
    assert receipt.seconds == receipt.waited_seconds + receipt.prompt_seconds + receipt.completion_seconds
    assert receipt.tokens_per_second == pytest.approx(3 / receipt.completion_seconds)


def test_a_seed_that_was_drawn_can_be_given_again(llm):
    first = llm.generate([1, 2], max_tokens=30, temperature=50)
    again = llm.generate([1, 2], max_tokens=30, temperature=50, seed=first.receipt.seed)
    assert first.token_ids == again.token_ids


def test_the_end_of_text_ends_the_answer_and_is_not_shown(llm):
    prompt = next([n] for n in range(VOCABULARY) if 96 in continuation([n], 200))
    expected = continuation(prompt, 200)
    end = expected.index(96)
    completion = llm.generate(prompt)
    assert list(completion.token_ids) == expected[: end + 1]
    assert completion.text == letters(expected[:end])
    assert completion.finish_reason == "stop"
    assert len(llm.generate(prompt, ignore_eos=True, max_tokens=200).token_ids) == 200


def test_a_stop_string_is_cut_across_token_borders(llm):
    whole = llm.generate([1, 2, 3], max_tokens=20).text
    completion = llm.generate([1, 2, 3], max_tokens=20, stop=[whole[7:10]])
    assert completion.text == whole[:7]
    assert completion.finish_reason == "stop"
    assert len(completion.token_ids) == 10
    with llm.stream([1, 2, 3], max_tokens=20, stop=whole[7:10]) as stream:
        assert "".join(stream) == whole[:7]


def test_an_answer_ends_where_the_context_ends(make_llm):
    completion = make_llm(context=16).generate([1] * 10, ignore_eos=True)
    assert len(completion.token_ids) == 6
    assert completion.finish_reason == "length"


def test_a_stream_joins_to_the_answer_and_tells_the_rest(llm):
    stream = llm.stream([4, 5], max_tokens=12)
    pieces = list(stream)
    assert len(pieces) == 12
    assert "".join(pieces) == stream.completion.text == llm.generate([4, 5], max_tokens=12).text
    assert stream.completion.finish_reason == "length"
    assert list(stream) == []


@pytest.mark.parametrize("end", ["close", "del", "with"])
def test_a_stream_that_is_left_frees_its_pages(llm, end):
    stream = llm.stream([4, 5], max_tokens=100)
    next(stream)
    assert llm.core.tree.available < 64
    if end == "close":
        stream.close()
        assert stream.completion.finish_reason is None
    elif end == "with":
        with stream:
            next(stream)
    del stream
    gc.collect()
    assert llm.core.tree.available == 64
    llm.core.check_integrity()


def test_batch_equals_one_after_the_other(llm):
    prompts = [[1], "Hello", [5] * 300, [2, 3]]
    together = llm.batch(prompts, max_tokens=10, temperature=30, seed=3)
    assert [c.token_ids for c in together] == [
        llm.generate(p, max_tokens=10, temperature=30, seed=3).token_ids for p in prompts
    ]
    assert max(len(batch.lengths) for batch in llm.core.model.batches) == 4
    assert llm.batch([]) == []


@pytest.mark.parametrize("prompts", [None, 5, "ab"])
def test_a_batch_is_of_several_prompts(llm, prompts):
    with pytest.raises(BadInput, match="prompts is"):
        llm.batch(prompts)


def test_logits_are_teacher_forced(llm):
    ids = [3, 1, 4, 1, 5]
    logits = llm.logits(ids)
    assert logits.shape == (5, VOCABULARY)
    assert logits.dtype == np.float32
    assert logits.argmax(1).tolist() == [continuation(ids[: n + 1], 1)[0] for n in range(5)]
    assert llm.core.tree.available == 64


@pytest.mark.parametrize("first", [1, 2, 70, 200])
def test_score_is_the_log_probability_of_each_token(llm, first):
    ids = [3, 1, 4, *continuation([3, 1, 4], 197)]
    logits = llm.logits(ids).astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = expected[np.arange(199), ids[1:]][first - 1 :]
    assert np.allclose(llm.score(ids, first), expected, atol=1e-6)


def test_logprobs_come_one_for_each_token(llm):
    completion = llm.generate([1, 2], max_tokens=6, logprobs=3)
    assert [entry.token_id for entry in completion.logprobs] == list(completion.token_ids)
    assert all(entry.top[0] == (entry.token_id, entry.logprob) and len(entry.top) == 3 for entry in completion.logprobs)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ([], "empty"),
        ("", "empty"),
        ([1, VOCABULARY], f"token id {VOCABULARY} is not in the vocabulary, which is 0 to {VOCABULARY - 1}"),
        ([-1], "token id -1"),
        ([1.5], "flat list of integers"),
        ([[1], [2]], "flat list of integers"),
        ([[1], [2, 3]], "flat list of integers"),
        ({"a": 1}, "flat list of integers"),
        ([1] * 1024, "1024 tokens and at most 1023 fit"),
        ([2**70], "flat list of integers"),
    ],
)
def test_a_bad_prompt_is_refused_by_name(llm, prompt, says):
    with pytest.raises(BadInput, match=says):
        llm.generate(prompt, max_tokens=4)
    assert llm.core.tree.available == 64


def test_logits_may_fill_the_context_but_not_pass_it(make_llm):
    llm = make_llm(context=8)
    assert llm.logits([1] * 8).shape == (8, VOCABULARY)
    with pytest.raises(BadInput, match="at most 8"):
        llm.logits([1] * 9)
    with pytest.raises(BadInput, match="first is 9"):
        llm.score([1] * 8, first=9)


@pytest.mark.parametrize(
    ("context", "longest", "tokens", "says"),
    [
        (2, 2, 2, "the prompt has 2 tokens and at most 1 fits, as the context is 2; shorten it$"),
        (8, 8, 9, "the prompt has 9 tokens and at most 7 fit, as the context is 8; shorten it$"),
        (8, 20, 9, r"shorten it, or load the model with a larger context \(at most 20\)$"),
    ],
)
def test_a_prompt_that_is_too_long_is_told_what_can_be_done(make_llm, context, longest, tokens, says):
    with pytest.raises(BadInput, match=says):
        make_llm(context=context, longest=longest).generate([1] * tokens)


def test_one_bad_prompt_of_a_batch_starts_nothing(llm):
    with pytest.raises(BadInput, match="empty"):
        llm.batch([[1], []])
    assert not llm.core.scheduler.waiting


def test_broken_logits_are_an_error_for_everyone_who_meets_them(make_llm):
    llm = make_llm(broken_at=5)
    for use in (llm.generate, llm.logits, llm.score, lambda ids: list(llm.stream(ids))):
        with pytest.raises(Mismatch, match="not finite"):
            use([1] * 10)
    assert llm.core.tree.available == 64


def test_threads_share_the_engine_and_get_their_own_answers(llm):
    prompts = [[n] * (n + 1) for n in range(12)]
    answers: dict[int, tuple[int, ...]] = {}

    def ask(n: int) -> None:
        answers[n] = llm.generate(prompts[n], max_tokens=30, ignore_eos=True).token_ids

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [list(answers[n]) for n in range(12)] == [continuation(p, 30) for p in prompts]
    assert llm.core.tree.available == 64


def test_a_closed_model_says_so(llm):
    stream = llm.stream([1], max_tokens=10)
    next(stream)
    with llm:
        pass
    llm.close()
    with pytest.raises(BadInput, match="closed"):
        llm.generate([1])
    with pytest.raises(BadInput, match="closed"):
        list(stream)


def test_chat_speaks_the_models_format(llm):
    completion = llm.chat([{"role": "user", "content": "Hi"}], max_tokens=7)
    assert list(completion.token_ids) == continuation(llm.tokenizer.encode("[u]Hi[a]"), 7)
    assert completion.reasoning is None
    assert completion.text == letters(completion.token_ids)


def test_a_conversation_computes_only_what_is_new(llm):
    conversation = llm.conversation(system="Be brief")
    first = "".join(piece.text for piece in conversation.say("Hi", max_tokens=9))
    assert conversation.messages[-1] == {"role": "assistant", "content": first}
    list(conversation.say("More", max_tokens=9))
    assert conversation.completion.receipt.cached_tokens == len("[s]Be brief[u]Hi[a]") + 8
    alone = llm.chat(conversation.messages[:-1], max_tokens=9)
    assert conversation.completion.token_ids == alone.token_ids


def test_a_conversation_goes_on_after_an_answer_was_cut(llm):
    conversation = llm.conversation()
    turn = conversation.say("Hi", max_tokens=50)
    start = next(turn).text + next(turn).text
    turn.close()
    assert conversation.messages[-1]["content"] == start
    list(conversation.say("Go on", max_tokens=4))
    assert conversation.completion.receipt.cached_tokens >= len("[u]Hi[a]")
    assert conversation.completion.token_ids == llm.chat(conversation.messages[:-1], max_tokens=4).token_ids


def test_a_turn_that_can_not_be_answered_leaves_the_conversation_as_it_was(llm):
    conversation = llm.conversation()
    with pytest.raises(BadInput, match="fit"):
        list(conversation.say("x" * 2000))
    assert conversation.messages == []
    assert "".join(piece.text for piece in conversation.say("Hi", max_tokens=3))

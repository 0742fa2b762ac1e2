"""Rows as samples: which tokens are trained, and what is said of rows that can't be used."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from talkers import talker

from divebell.errors import BadInput
from divebell.text.chat import load_chat
from divebell.text.tokenizer import load_tokenizer
from divebell.tune.data import Speaker, read_samples, shown
from divebell.tune.samples import Sample, batches_of, packed, shuffled
from divebell.weights.checkpoint import open_checkpoint

TURNS = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "Three."},
]


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    def speak(template: str | None = None, longest: int = 200) -> Speaker:
        checkpoint = open_checkpoint(talker(tmp_path_factory.mktemp("talker"), template=template))
        tokenizer = load_tokenizer(checkpoint)
        return Speaker(tokenizer, load_chat(checkpoint, tokenizer), longest)

    return speak


@pytest.fixture(scope="module")
def speaker(speakers):
    return speakers()


def written(folder, *rows, name="rows.jsonl"):
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_what_the_assistant_says_is_trained(speaker, tmp_path):
    (sample,) = read_samples(written(tmp_path, {"messages": TURNS}), speaker)
    text = shown(sample, speaker.tokenizer)
    assert text.count("⟦") == 2
    assert "assistant\n⟦Two.<|im_end|>⟧\n" in text
    assert "assistant\n⟦Three.<|im_end|>⟧" in text


def test_a_completion_is_trained_with_its_end(speaker, tmp_path):
    (sample,) = read_samples(written(tmp_path, {"prompt": "a b", "completion": " c"}), speaker)
    assert shown(sample, speaker.tokenizer) == "a b⟦ c<|im_end|>⟧"


def test_texts_are_trained_to_their_end_and_cut(speaker, tmp_path):
    path = written(tmp_path, {"text": "all of it"}, {"text": "with its own<|im_end|>"})
    assert [shown(sample, speaker.tokenizer) for sample in read_samples(path, speaker)] == [
        "⟦all of it<|im_end|>⟧",
        "⟦with its own<|im_end|>⟧",
    ]
    pieces = read_samples(written(tmp_path, "word " * 500, name="book.txt"), speaker)
    assert max(map(len, pieces)) <= 200
    assert len(pieces) > 1
    assert [shown(piece, speaker.tokenizer).count("<|im_end|>") for piece in pieces] == [0] * (len(pieces) - 1) + [1]


def test_pieces_of_one_token_are_refused(speakers, tmp_path):
    with pytest.raises(BadInput, match=r"a sample may have 1 token, .* give --context 2 or more"):
        read_samples(written(tmp_path, "word " * 9, name="book.txt"), speakers(longest=1))
    with pytest.raises(BadInput, match="has no text"):
        read_samples(written(tmp_path, " ", name="book.txt"), speakers())


def test_turns_of_weight_0_are_not_trained(speaker, tmp_path):
    weighed = [TURNS[0], TURNS[1] | {"weight": 0}, TURNS[2], TURNS[3] | {"weight": 1}]
    (sample,) = read_samples(written(tmp_path, {"messages": weighed}), speaker)
    text = shown(sample, speaker.tokenizer)
    assert text.count("⟦") == 1
    assert "assistant\nTwo.<|im_end|>\n" in text
    assert "assistant\n⟦Three.<|im_end|>⟧" in text


def test_a_prompt_that_a_message_says_too_is_not_lost(speaker, tmp_path):
    alone, beside = ({"messages": TURNS[:2]} | own for own in ({}, {"prompt": TURNS[0]["content"], "prompt_id": "1"}))
    first, second = read_samples(written(tmp_path, alone, beside), speaker)
    assert shown(first, speaker.tokenizer) == shown(second, speaker.tokenizer)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 2: is no JSON"),
        ("[1]", "line 2: is '\\[1\\]'; give a JSON object"),
        ({"question": 1}, "line 2: has 'question'; give 'messages', or 'prompt' and 'completion', or 'text'"),
        ({"prompt": "a", "completion": 5}, "completion is '5'; give a string"),
        ({"messages": TURNS[:1]}, "nothing of the assistant"),
        ({"messages": [{"role": "robot", "content": "x"}, TURNS[1]]}, "role is 'robot'"),
        ({"messages": TURNS[:3]}, r"line 2: messages\[2\] comes after what the assistant says last"),
        ({"messages": [TURNS[0], TURNS[1] | {"weight": 0}]}, "every turn of the assistant has weight 0"),
        ({"messages": [TURNS[0], TURNS[1] | {"weight": 0.5}]}, r"messages\[1\].weight is '0.5'; give 0"),
        ({"messages": [TURNS[0], TURNS[1] | {"content": ""}]}, r"messages\[1\].content is empty, which teaches to end"),
        ({"messages": [3]}, r"line 2: messages\[0\] is of type int"),
        ({"prompt": "a", "completion": ""}, "completion is empty, which teaches to end"),
        ({"prompt": "a", "text": "b"}, "has 'text' beside 'prompt', and one alone is learned; give 'messages', or"),
        ({"messages": TURNS[:2], "completion": "b"}, "has 'messages' beside 'completion'"),
        ({"messages": TURNS[:2], "prompt": "another"}, "has 'messages' beside 'prompt'"),
        ({"text": ""}, "text is blank, so there is no token to learn"),
        (
            {"text": "word " * 500},
            "a sample may have 200; shorten it, or raise --context, which ends at what the model",
        ),
    ],
)
def test_bad_rows_are_named(row, said, speaker, tmp_path):
    with pytest.raises(BadInput, match=said):
        read_samples(written(tmp_path, {"text": "a good row"}, row), speaker)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "no mark where the assistant's turn ends"),
        ("{% for m in messages[::-1] %}{{ m.content }}<|im_end|>{% endfor %}", "where the assistant's turn begins"),
    ],
)
def test_templates_without_marks_are_refused(template, said, speakers, tmp_path):
    with pytest.raises(BadInput, match=said):
        read_samples(written(tmp_path, {"messages": TURNS[:2]}), speakers(template))


def test_turns_that_a_template_writes_anew_are_samples_of_their_own(speakers, tmp_path):
    """As DeepSeek-R1's, which leaves the reasoning out of all but the last turn, and opens it in the prompt."""
    template = (
        "{% for m in messages %}{{ m.role }}:{{ m.content if loop.last or m.role == 'user' else 'cut' }}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}assistant:<think>{% endif %}"
    )
    samples = read_samples(written(tmp_path, {"messages": TURNS}), speaker := speakers(template))
    assert [shown(sample, speaker.tokenizer).split("⟦")[1] for sample in samples] == [
        "Two.<|im_end|>⟧",
        "Three.<|im_end|>⟧",
    ]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 80))
def test_packing_loses_nothing(lengths, most):
    samples = [Sample(np.zeros(n, np.int32), np.ones(n, bool)) for n in lengths]
    packs = packed(samples, most)
    assert sorted(len(s) for pack in packs for s in pack) == sorted(lengths)
    assert all(len(pack) == 1 or sum(map(len, pack)) <= most for pack in packs)


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 40))
def test_the_order_can_be_taken_up_anywhere(count, batch, first):
    samples = [Sample(np.full(1, i, np.int32), np.ones(1, bool)) for i in range(count)]
    whole, later = shuffled(samples, batch, 3), shuffled(samples, batch, 3, first)
    batches = [[s.ids[0] for s in next(whole)] for _ in range(first + 2)]
    assert [s.ids[0] for s in next(later)] == batches[first]
    epoch = [next(shuffled(samples, batch, 3, i)) for i in range(batches_of(count, batch))]
    assert sorted(s.ids[0] for b in epoch for s in b) == list(range(count))

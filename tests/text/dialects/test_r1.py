import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.text.dialects import r1

OPENED, PLAIN = "<｜Assistant｜><think>\n", "<｜Assistant｜>"


def run(prompt, pieces):
    splitter = r1.splitter(prompt)
    parts = [*map(splitter.push, pieces), splitter.flush()]
    reasoning, answer = ("".join(part) for part in zip(*parts, strict=True))
    return (reasoning if splitter.reasoned else None), answer


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        (OPENED, "hm\nhm</think>\n\nyes", ("hm\nhm", "yes")),
        (PLAIN, "<think>\nhm\n</think>\n\nyes\n", ("hm", "yes\n")),
        (PLAIN, "\n <think>hm</think>yes", ("hm", "yes")),
        (PLAIN, "<think>\n\n</think>\n\nyes", ("", "yes")),
        (PLAIN, "  just yes", (None, "  just yes")),
        (PLAIN, "a < b and </think>", (None, "a < b and </think>")),
        (PLAIN, "<thin", (None, "<thin")),
        (PLAIN, "", (None, "")),
        (OPENED, "never done </th", ("never done </th", "")),
        (OPENED, "a </think> b </think> c", ("a", "b </think> c")),
        (OPENED, "", ("", "")),
    ],
)
def test_reasoning_and_answer(prompt, text, expected):
    assert run(prompt, [text]) == expected
    assert run(prompt, text) == expected


words = st.sampled_from(["<think>", "</think>", "<", "/", "think>", " ", "\n", "x", "yes", "</", "</thi"])


@given(text=st.lists(words).map("".join), cuts=st.lists(st.integers(0, 60)), prompt=st.sampled_from([OPENED, PLAIN]))
def test_equal_at_every_split(text, cuts, prompt):
    ends = [0, *sorted(cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(ends)]
    assert run(prompt, pieces) == run(prompt, [text])


@given(text=st.lists(words).map("".join))
def test_reasoning_is_shown_as_soon_as_it_is_certain(text):
    splitter, shown = r1.splitter(OPENED), ""
    for end in range(1, len(text) + 1):
        reasoning, answer = splitter.push(text[end - 1])
        shown += reasoning
        if answer or r1.CLOSE in text[:end]:
            return
        waiting = text[:end].strip()[len(shown) :].lstrip()
        assert waiting == "" or r1.CLOSE.startswith(waiting)

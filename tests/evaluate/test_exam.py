import pytest

from divebell.errors import BadInput
from divebell.evaluate.exam import exam, make_probes


class Letters:
    """One token a letter, and a begin token."""

    bos_id = 0

    def encode(self, text, add_special_tokens=True):
        return [0] * add_special_tokens + [ord(letter) for letter in text]


TEXT = [9] * 100_000


@pytest.mark.parametrize("tokens", [256, 999, 5000])
def test_every_line_stands_where_it_is_said_to(tokens):
    made = exam(Letters(), TEXT, tokens, seed=1)
    assert made.ids[0] == 0
    assert len(made.ids) == tokens
    for probe in made.probes:
        line = f"\n{probe.line}\n"
        assert "".join(map(chr, made.ids[probe.position :][: len(line)])) == line
        assert f"{probe.question} {probe.answer}{probe.end}".strip() == probe.line


def test_a_line_answers_its_question_and_no_other():
    probes = make_probes(24, seed=3)
    assert {probe.kind for probe in probes} == {"path", "recall", "hash", "shell line"}
    for probe in probes:
        begun = [one for one in probes if one.line.startswith(probe.question.strip())]
        assert begun == [probe]
        assert probe.end not in probe.answer
    assert make_probes(24, seed=3) == probes != make_probes(24, seed=4)


@pytest.mark.parametrize(("text", "tokens", "says"), [(TEXT, 255, "must be 256 or more"), ([9], 256, "too short")])
def test_too_little_is_refused(text, tokens, says):
    with pytest.raises(BadInput, match=says):
        exam(Letters(), text, tokens, seed=0)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.serve.ui.conversation import LONGEST_TITLE, Conversation
from divebell.serve.ui.settings import Settings
from divebell.serve.ui.tree import Tree


def texts(tree):
    return [turn.text for turn in tree.path()]


def two_branches():
    """Two wordings of a question, the first answered twice."""
    tree = Tree()
    first = tree.add(None, "user", "one")
    tree.add(first.id, "assistant", "1")
    tree.add(first.id, "assistant", "1 again")
    tree.add(None, "user", "two")
    return tree, first


def test_another_wording_is_a_branch_beside_the_first():
    tree, first = two_branches()
    assert texts(tree) == ["two"]
    assert [turn.text for turn in tree.siblings(first)] == ["one", "two"]


def test_a_branch_that_is_chosen_shows_its_latest_turns():
    tree, first = two_branches()
    tree.choose(first)
    assert texts(tree) == ["one", "1 again"]


def test_what_is_said_after_an_earlier_turn_begins_a_branch():
    tree, first = two_branches()
    tree.end_at(first)
    tree.add(tree.leaf, "assistant", "1 once more")
    assert texts(tree) == ["one", "1 once more"]
    assert len(tree.siblings(tree.path()[-1])) == 3


def test_nothing_can_follow_a_turn_that_is_not_there():
    with pytest.raises(KeyError):
        Tree().add(7, "user", "x")


@given(st.lists(st.tuples(st.sampled_from(["add", "choose", "end"]), st.integers(0, 50)), max_size=40))
def test_every_branch_is_a_way_from_the_root(steps):
    tree = Tree()
    for step, number in steps:
        turns = list(tree.turns.values())
        turn = turns[number % len(turns)] if turns else None
        if step == "add":
            tree.add(turn and turn.id, "user", str(number))
        elif turn:
            (tree.choose if step == "choose" else tree.end_at)(turn)
            assert turn in tree.path()
        path = tree.path()
        assert [each.parent for each in path] == [None, *(each.id for each in path)][: len(path)]
        assert all(each in tree.siblings(each) for each in path)


def test_a_model_is_told_the_instructions_and_the_branch_up_to_the_question():
    tree, first = two_branches()
    conversation = Conversation(settings=Settings("Be short."), tree=tree)
    assert conversation.messages(first.id) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "one"},
    ]


@given(st.text())
def test_the_title_is_of_the_first_words_and_short(question):
    conversation = Conversation()
    conversation.name_after(question)
    assert len(conversation.title) <= LONGEST_TITLE
    assert not set("\n\r\t") & set(conversation.title)

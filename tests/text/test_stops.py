import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.errors import BadInput
from divebell.text.stops import StopMatcher

letters = st.text("ab\n", max_size=12)


def naive(text, stops):
    """Cut before the stop string that is complete first; of those complete there, the longest."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - len(max(found, key=len))], True
    return text, False


@given(pieces=st.lists(letters), stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3))
def test_equals_a_search_of_the_whole_text(pieces, stops):
    matcher, shown, stopped = StopMatcher(stops), "", False
    for piece in pieces:
        given_out, stopped = matcher.push(piece)
        shown += given_out
        if stopped:
            break
    assert (shown if stopped else shown + matcher.flush(), stopped) == naive("".join(pieces), stops)


@given(pieces=st.lists(letters), stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_holds_back_only_what_may_become_a_stop(pieces, stops):
    matcher, text, shown = StopMatcher(stops), "", ""
    for piece in pieces:
        text += piece
        given_out, stopped = matcher.push(piece)
        shown += given_out
        if stopped:
            return
        held = text[len(shown) :]
        assert held == "" or any(stop.startswith(held) for stop in stops)


def test_no_stops_hold_nothing():
    assert StopMatcher([]).push("anything") == ("anything", False)


@pytest.mark.parametrize("stops", [[""], ["a", None], [3]])
def test_bad_stops_are_named(stops):
    with pytest.raises(BadInput, match=rf"stop\[{len(stops) - 1}\]"):
        StopMatcher(stops)

"""What JSON from a stranger may hold: no key twice, no half characters, no more than a model's files need."""

import json
import re
from pathlib import Path

import pytest
from hostile import check_limits
from hypothesis import given
from hypothesis import strategies as st

from divebell.errors import BadFile
from divebell.weights.strict_json import parse_object, read_object

PATH = Path("there/config.json")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.dictionaries(st.text(), values, max_size=4), st.booleans())
def test_what_python_writes_is_read(value, escaped):
    raw = json.dumps(value, ensure_ascii=escaped).encode()
    assert parse_object(raw, PATH, "config") == value


def problem_of(raw: bytes) -> str:
    """What parsing says is wrong, or "" when nothing is."""
    try:
        assert isinstance(parse_object(raw, PATH, "config"), dict)
        return ""
    except BadFile as error:
        return str(error)


@given(st.binary(max_size=40) | st.text('{}[]":,\\ud8c0f019e-.', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(raw):
    assert (problem_of(raw) or "there/config.json: config: ").startswith("there/config.json: config: ")


@pytest.mark.parametrize(
    "text", [r'"\ud83d\ude00"', r'"\\ud800"', r'"\\\ud83d\ude00\""', r'"\uD83D\uDE00"', r'"\u00e9\ue000\n"', '"😀"']
)
def test_escapes_of_whole_characters_are_read(text):
    assert parse_object(f'{{"a": {text}}}'.encode(), PATH, "config") == {"a": json.loads(text)}


@pytest.mark.parametrize(
    "text",
    [r'"\ud83d"', r'"\uDE00"', r'"\ude00\ud83d"', r'"\ud83d\ud83d\ude00"', r'"\\ud83d\ude00"', r'"\ud83d\\ude00"'],
)
@pytest.mark.parametrize("form", ['{{"a": {}}}', "{{{}: 1}}", '{{"a": [{{"b": [{}]}}]}}'])
def test_half_characters_are_refused_wherever_they_are(form, text):
    with pytest.raises(BadFile, match=r"config: is not valid JSON: an escape is half of a surrogate pair"):
        parse_object(form.format(text).encode(), PATH, "config")


@given(st.text('\\ud8Dc0eEFfx"', max_size=30))
def test_what_is_read_can_be_written(text):
    try:
        value = parse_object(f'{{"a": "{text}"}}'.encode(), PATH, "config")
    except BadFile:
        return
    json.dumps(value, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("depth", [100, 500, *range(900, 1020), 10_000, 200_000, 2_000_000])
def test_any_depth_is_read_or_refused(depth):
    for raw in (b'{"a":' + b"[" * depth + b"]" * depth + b"}", b'{"a":' * depth + b"1" + b"}" * depth):
        problem = problem_of(raw)
        assert problem == "" if depth < 800 else re.search("is nested too deeply|holds about|^$", problem)


@pytest.mark.parametrize("digits", [400, 401, 5000, 5_000_000])
def test_numbers_have_an_end(digits):
    raw = b'{"a": ' + b"9" * digits + b"}"
    check_limits(lambda: parse_object(raw, PATH, "config"))
    if digits > 400:
        with pytest.raises(BadFile, match=f"a number has {digits} digits; at most 400 are allowed"):
            parse_object(raw, PATH, "config")


def test_files_that_are_missing_or_too_large(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(BadFile, match=r"config\.json: JSON: can't be read: No such file or directory"):
        read_object(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    check_limits(lambda: read_object(path))
    with pytest.raises(BadFile, match=r"config\.json: JSON: is larger than the 16777216 bytes allowed"):
        read_object(path)


def test_a_byte_order_mark_before_a_file_means_nothing(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_object(path) == {"a": 1}

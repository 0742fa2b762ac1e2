"""Files as rows: which are, where lines end, and what is said of those that are none."""

import json

import pytest

from divebell.errors import BadInput
from divebell.tune.data import read_texts

ROWS = [{"text": "one"}, {"text": "two"}]


def written(path, content: str):
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.JSONL", "rows.json", "rows.JSON"])
def test_lines_of_objects_are_rows(name, tmp_path):
    lines = "\r\n".join(map(json.dumps, ROWS))
    assert read_texts(written(tmp_path / name, lines)) == ["one", "two"]


def test_a_list_of_objects_is_rows(tmp_path):
    assert read_texts(written(tmp_path / "rows.json", json.dumps(ROWS, indent=2))) == ["one", "two"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x7f"])
def test_a_text_may_have_any_separator_in_it(separator, tmp_path):
    rows = [{"text": f"one{separator}two"}] * 3
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert read_texts(written(tmp_path / "rows.jsonl", lines)) == [f"one{separator}two"] * 3
    with pytest.raises(BadInput, match=r"trained on:\nline 4: is no JSON"):
        read_texts(written(tmp_path / "rows.jsonl", lines + "\n{"))


@pytest.mark.parametrize(("name", "content"), [("rows.jsonl", json.dumps(ROWS[0])), ("book.txt", "one")])
def test_a_byte_order_mark_is_no_text(name, content, tmp_path):
    assert read_texts(written(tmp_path / name, "\ufeff" + content)) == ["one"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"text": "one"}, 2]', "row 2: is '2'; give a JSON object"),
        ('[{"text": "one"}, {"text": 2}]', "row 2: text is '2'; give a string"),
        ('[{"text": "one"}', r"rows\.json is no JSON: Expecting ','"),
    ],
)
def test_bad_lists_are_named(content, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        read_texts(written(tmp_path / "rows.json", content))

import pytest

from divebell.errors import BadInput
from divebell.serve.keys import VARIABLE, Keys, read_keys


def write(tmp_path, text):
    file = tmp_path / "keys"
    file.write_text(text)
    return file


def test_keys_have_names(tmp_path):
    keys = read_keys(write(tmp_path, "# ours\nanna:sk-anna-1234\n\n bert : sk-bert-1234 \nsk-nameless-1\n"))
    assert [keys.owner(key) for key in ("sk-anna-1234", "sk-bert-1234", "sk-nameless-1")] == ["anna", "bert", "key3"]


@pytest.mark.parametrize("key", ["", "sk-anna-123", "sk-anna-12345", "SK-ANNA-1234", "anna", "s\udce9", "é" * 9])
def test_other_keys_are_nobodys(key):
    assert Keys({"anna": "sk-anna-1234"}).owner(key) is None


def test_the_environment_adds_to_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "bert:sk-bert-1234 carl:sk-carl-1234")
    keys = read_keys(write(tmp_path, "anna:sk-anna-1234"))
    assert [keys.owner(f"sk-{name}-1234") for name in ("anna", "bert", "carl")] == ["anna", "bert", "carl"]


def test_without_keys_there_are_none(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not read_keys(None)
    assert Keys({"anna": "sk-anna-1234"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("anna:short", r"key 1 \(anna\) can't be used; a key has 8 or more"),
        ("anna:with a space", "can't be used"),
        ("anna:schlüssel1234", "can't be used"),
        ("anna:sk-anna-1234\nanna:sk-bert-1234", "the name anna occurs twice"),
        ("anna:sk-anna-1234\nbert:sk-anna-1234", r"key 2 \(bert\) occurs twice"),
        ("# nothing", "has no keys"),
    ],
)
def test_a_key_that_can_t_be_one_is_refused_without_being_shown(tmp_path, text, says):
    with pytest.raises(BadInput, match=says) as caught:
        read_keys(write(tmp_path, text))
    assert "sk-" not in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    file = tmp_path / "keys"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="is not text"):
        read_keys(file)

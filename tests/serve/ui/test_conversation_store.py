import os
import sqlite3
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talks import talk

from divebell.errors import BadInput
from divebell.serve.ui.conversation import Conversation
from divebell.serve.ui.settings import Settings
from divebell.serve.ui.store import Store, default_file

TEXT = st.text(st.characters(codec="utf-8"))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "new" / "conversations.sqlite3"


def as_dict(conversation):
    return asdict(conversation) | {"tree": [conversation.tree.turns, conversation.tree.leaf]}


def test_what_is_kept_comes_back_as_it_was(file):
    conversation = talk()
    Store(file).save(conversation)
    assert as_dict(Store(file).load(conversation.id, "")) == as_dict(conversation)


@settings(max_examples=20)
@given(st.lists(st.tuples(TEXT, st.none() | TEXT), max_size=6), TEXT)
def test_any_text_does(tmp_path_factory, said, title):
    store, conversation = Store(tmp_path_factory.mktemp("store") / "file"), Conversation(title=title)
    for text, reasoning in said:
        conversation.tree.add(conversation.tree.leaf, "assistant", text).reasoning = reasoning
        store.save(conversation)
    store.save(conversation)
    assert as_dict(store.load(conversation.id, "")) == as_dict(conversation)


def test_nobody_else_may_read_the_file(file):
    before = os.umask(0)
    try:
        Store(file).save(talk())
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_the_latest_comes_first(file):
    store, first, second = Store(file), talk(title="first"), talk(title="second")
    for each in (first, second, first):
        store.save(each)
    assert store.titles("") == [(first.id, "first"), (second.id, "second")]


def test_owners_see_their_own_alone(file):
    store, hers = Store(file), talk("anna")
    store.save(hers)
    store.delete(hers.id, "bert")
    assert store.titles("bert") == []
    assert store.load(hers.id, "bert") is None
    assert store.titles("anna") == [(hers.id, "A talk")]


def test_what_is_deleted_is_gone_with_its_turns(file):
    store, conversation = Store(file), talk()
    store.save(conversation)
    store.delete(conversation.id, "")
    assert store.load(conversation.id, "") is None
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM turn").fetchone() == (0,)


def test_a_file_that_is_none_is_named(file):
    file.parent.mkdir()
    file.write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match=r"conversations can't be kept in .*conversations.sqlite3: "):
        Store(file).titles("")


def test_settings_of_another_version_do_no_harm():
    assert Settings.of({"system": "x", "mirostat": 2}) == Settings("x")


def test_the_file_is_in_the_person_s_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DIVEBELL_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_file() == tmp_path / "divebell" / "conversations.sqlite3"
    monkeypatch.setenv("DIVEBELL_HOME", str(tmp_path / "own"))
    assert default_file() == tmp_path / "own" / "conversations.sqlite3"

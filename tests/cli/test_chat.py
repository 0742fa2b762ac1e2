import io

import pytest
from fakes import FakeVoice, continuation, fake_llm

import divebell
from divebell.cli import main
from divebell.engine.conversation import Conversation


@pytest.fixture
def asked(monkeypatch):
    """Puts the fake model in; the arguments that `load` was called with."""
    calls = []

    def load(name, **arguments):
        calls.append((name, arguments))
        return fake_llm()

    monkeypatch.setattr(divebell, "load", load)
    return calls


def answer_to(prompt: str, count: int) -> str:
    return FakeVoice.tokenizer.decode(continuation(FakeVoice.tokenizer.encode(prompt), count))


def test_a_prompt_is_answered_once_with_nothing_else_on_stdout(asked, capsys):
    assert main(["chat", "--prompt", "Hi", "--max-tokens", "7"]) == 0
    out, err = capsys.readouterr()
    assert out == answer_to("[u]Hi[a]", 7) + "\n"
    assert "answer 7 tokens" in err
    assert "cut at the limit" in err
    assert asked == [
        (
            "smollm2-135m",
            {"weights": "stored", "threads": None, "ram": None, "context": None, "cache": None, "kv_dir": None},
        )
    ]


def test_flags_reach_the_model(asked, capsys):
    arguments = [
        "--system",
        "Be",
        "--weights",
        "f32",
        "--threads",
        "1",
        "--ram",
        "1GB",
        "--context",
        "64",
        "--cache",
        "bf16",
    ]
    assert main(["chat", "some/model", "--prompt", "Hi", "--max-tokens", "3", *arguments]) == 0
    assert capsys.readouterr().out == answer_to("[s]Be[u]Hi[a]", 3) + "\n"
    assert asked == [
        ("some/model", {"weights": "f32", "threads": 1, "ram": "1GB", "context": 64, "cache": "bf16", "kv_dir": None})
    ]


def test_a_stop_text_and_a_seed_are_options(asked, capsys):
    whole = answer_to("[u]Hi[a]", 12)
    assert main(["chat", "--prompt", "Hi", "--stop", whole[4:6], "--seed", "3", "--temperature", "0"]) == 0
    assert capsys.readouterr().out == whole[:4] + "\n"


def test_turns_go_on_until_the_person_leaves(asked, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n\nMore\n"))
    assert main(["chat", "--max-tokens", "5"]) == 0
    out, err = capsys.readouterr()
    first = answer_to("[u]Hi[a]", 5)
    assert out == f"{first}\n{answer_to(f'[u]Hi[a]{first}[u]More[a]', 5)}\n"  # no prompts: stdin is no terminal
    assert err.count("answer 5 tokens") == 2
    assert "kept" in err


def test_interrupting_stops_the_answer_and_not_the_program(asked, capsys, monkeypatch):
    say = Conversation.say

    def interrupted(self, text, **options):
        for count, piece in enumerate(say(self, text, **options)):
            if text == "Hi" and count == 3:
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr(Conversation, "say", interrupted)
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\nMore\n"))
    assert main(["chat", "--max-tokens", "9"]) == 0
    out, err = capsys.readouterr()
    assert answer_to("[u]Hi[a]", 3) in out
    assert "stopped" in err
    assert "answer 9 tokens" in err


def test_an_error_of_one_turn_leaves_the_chat_running(asked, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("x" * 3000 + "\nHi\n"))
    assert main(["chat", "--max-tokens", "5"]) == 0
    out, err = capsys.readouterr()
    assert "at most 1023 fit" in err
    assert answer_to("[u]Hi[a]", 5) in out


def test_an_error_of_a_single_prompt_is_the_programs(asked, capsys):
    assert main(["chat", "--prompt", "Hi", "--temperature", "-1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "temperature is -1" in err

import io
import json
import re
from types import SimpleNamespace

import pytest
from fakes import FakeVoice, continuation, fake_llm

import divebell
from divebell.cli import main


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    monkeypatch.setattr(divebell, "load", lambda name, **arguments: fake_llm())


def after(text: str, count: int) -> str:
    return FakeVoice.tokenizer.decode(continuation(FakeVoice.tokenizer.encode(text), count))


def test_the_continuation_alone_goes_to_stdout(capsys):
    assert main(["run", "model", "Once", "--max-tokens", "6"]) == 0
    out, err = capsys.readouterr()
    assert out == after("Once", 6) + "\n"
    assert "answer 6 tokens" in err


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_the_text_may_come_from_a_file_or_stdin(source, tmp_path, monkeypatch, capsys):
    (tmp_path / "text").write_text("Once")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"Once")))
    arguments = ["--file", str(tmp_path / "text")] if source == "file" else []
    assert main(["run", "model", *arguments, "--max-tokens", "6"]) == 0
    assert capsys.readouterr().out == after("Once", 6) + "\n"


def test_an_interrupted_text_ends_its_line(monkeypatch, capsys):
    class Stream:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            yield "Once"
            raise KeyboardInterrupt

    llm = fake_llm()
    llm.stream = lambda text, **options: Stream()
    monkeypatch.setattr(divebell, "load", lambda name, **arguments: llm)
    assert main(["run", "model", "x"]) == 130
    assert capsys.readouterr() == ("Once\n", "divebell: interrupted\n")


def test_json_has_every_figure(capsys):
    assert main(["run", "model", "Once", "--max-tokens", "6", "--logprobs", "2", "--json", "--seed", "4"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["text"] == after("Once", 6)
    assert shown["token_ids"] == continuation(FakeVoice.tokenizer.encode("Once"), 6)
    assert shown["finish_reason"] == "length"
    assert shown["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}
    assert shown["receipt"]["seed"] == 4
    assert shown["receipt"]["seconds"] > 0
    assert [len(entry["top"]) for entry in shown["logprobs"]] == [2] * 6


def test_json_spells_each_token_of_the_logprobs(capsys):
    assert main(["run", "model", "Once", "--max-tokens", "6", "--logprobs", "2", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "".join(entry["text"] for entry in shown["logprobs"]) == after("Once", 6)
    assert [entry["token_id"] for entry in shown["logprobs"]] == shown["token_ids"]
    for entry in shown["logprobs"]:
        assert entry["top"][0] == {name: entry[name] for name in ("token_id", "text", "logprob")}
        assert all(one["text"] == chr(one["token_id"] + 32) for one in entry["top"])


def test_json_without_logprobs_says_so(capsys):
    assert main(["run", "model", "Once", "--max-tokens", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["logprobs"] is None


def test_logprobs_without_json_are_refused(capsys):
    assert main(["run", "model", "Once", "--logprobs", "2"]) == 1
    assert capsys.readouterr().err == "divebell: logprobs is 2, which only JSON can show; give --json too\n"


def test_one_token_is_not_called_tokens(capsys):
    assert main(["run", "model", "O", "--max-tokens", "1"]) == 0
    assert re.match(r"\[prompt 1 token at .*, answer 1 token at ", capsys.readouterr().err)


def test_text_and_file_together_are_refused(tmp_path, capsys):
    assert main(["run", "model", "Once", "--file", str(tmp_path / "text")]) == 1
    assert "not both" in capsys.readouterr().err


def test_a_file_that_is_not_text_is_named_with_the_place(tmp_path, capsys):
    (tmp_path / "text").write_bytes(b"ab\xff")
    assert main(["run", "model", "--file", str(tmp_path / "text")]) == 1
    assert "text is not UTF-8 text: byte 2 is 0xff" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["run", "model", "--file", str(tmp_path / "none")]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err

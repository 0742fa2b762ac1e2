"""divebell eval, on a tiny model and a few rows."""

import json
import signal
import subprocess
import sys
import time

import pytest
import small_data
import talkers
from fake_server import Fake, serving

from divebell.cli import main
from divebell.cli.asking import _key
from divebell.errors import NoSandbox
from divebell.evaluate.sandbox import check_sandbox


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return small_data.folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return talkers.talker(tmp_path_factory.mktemp("talker"))


@pytest.fixture
def run(model, rows, tmp_path, capsys):
    def run(*arguments: str, models: tuple = ()) -> str:
        names = [str(name) for name in (models or (model,))]
        common = ["--data", str(rows), "--out", str(tmp_path / "out"), "--threads", "1"]
        assert main(["eval", *names, *common, *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_the_table_has_scores_intervals_and_costs(run):
    shown = run("--tasks", "mmlu_anatomy,gsm8k", "--limit", "4")
    for words in ("mmlu_anatomy", "Wilson", "4 of 4", "exact_match, strict-match", "joules", "answers: "):
        assert words in shown, words


def test_a_second_run_asks_only_what_is_not_answered(run, tmp_path):
    first = json.loads(run("--tasks", "mmlu_anatomy", "--limit", "5", "--json"))
    [path] = (tmp_path / "out").glob("*.jsonl")
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:50])  # as kill -9 may leave it
    again = json.loads(run("--tasks", "mmlu_anatomy", "--limit", "5", "--json"))
    assert path.read_bytes().startswith(b"".join(lines[:4]))
    assert len(path.read_bytes().splitlines()) == 6
    assert again["models"][0]["results"][0]["scores"] == first["models"][0]["results"][0]["scores"]
    assert again["models"][0]["results"][0]["questions"] == 5


def test_another_cache_or_context_is_another_run(run, tmp_path):
    for options in ((), ("--cache", "f32"), ("--context", "500"), ("--cache", "f32")):
        run("--tasks", "xcopa_sw", "--limit", "2", *options)
    assert sorted(len(path.read_text().splitlines()) for path in (tmp_path / "out").glob("*.jsonl")) == [3, 3, 3]


def test_several_answers_to_a_question_count_as_their_mean(run):
    told = json.loads(
        run("--tasks", "gsm8k", "--limit", "2", "--samples", "3", "--temperature", "0.8", "--max-tokens", "5", "--json")
    )
    [found] = told["models"][0]["results"]
    assert (found["questions"], found["samples"]) == (2, 3)
    assert 6 <= found["cost"]["completion_tokens"] <= 30


def test_drawn_answers_are_asked_as_deepseek_did(run):
    with serving(Fake(lambda body: "#### 4")) as fake:
        run("--tasks", "gsm8k", "--limit", "1", "--samples", "2", "--temperature", "0.6", models=(fake.url,))
        bodies = [body for path, _, body in fake.asked if path.endswith("completions")]
    assert [(body["temperature"], body["top_p"]) for body in bodies] == [(0.6, 0.95)] * 2


def test_programs_are_run_and_several_to_a_problem_give_pass_at_k(run):
    try:
        check_sandbox()
    except NoSandbox as refusal:
        pytest.skip(str(refusal))
    drawn = ["--samples", "3", "--temperature", "1", "--max-tokens", "4"]
    told = json.loads(run("--tasks", "humaneval", "--limit", "2", *drawn, "--json"))
    [found] = told["models"][0]["results"]
    assert [score["metric"] for score in found["scores"]] == ["pass@1", "pass@3"]
    assert (found["questions"], found["of"], found["samples"]) == (2, 2, 3)


def test_two_models_are_compared_on_the_same_questions(run, model, tmp_path):
    other = talkers.talker(tmp_path / "other", "llama-tied-llama3")
    told = json.loads(run("--tasks", "xcopa_sw", "--json", models=(model, other)))
    found = told["differences"]["xcopa_sw"]
    assert found["questions"] == 6
    first, second = (one["results"][0]["scores"][0]["interval"]["value"] for one in told["models"])
    assert found["difference"]["value"] == pytest.approx(second - first)
    assert found["test"] == "McNemar, exact"
    assert "no difference shown" in run("--tasks", "xcopa_sw", models=(model, other))


def test_a_run_ends_when_the_time_is_up_or_the_interval_is_narrow(run):
    told = json.loads(run("--tasks", "gsm8k,mmlu_anatomy", "--budget", "0.001s", "--json"))
    assert told["models"][0]["results"] == []
    told = json.loads(run("--tasks", "mmlu_anatomy", "--budget", "1h", "--json"))
    assert told["models"][0]["results"][0]["questions"] == 12


def test_a_server_is_a_model_like_others_and_its_key_is_written_nowhere(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", "sk-very-secret")
    more = [
        "--tasks",
        "gsm8k",
        "--chat",
        "--key-from",
        "OTHER_KEY",
        "--price",
        "1,10",
        "--html",
        str(tmp_path / "page.html"),
    ]
    with serving(Fake(lambda body: "#### 4")) as fake:
        told = run(*more, "--json", models=(fake.url, f"other={fake.url}"))
        assert {headers["authorization"] for _, headers, _ in fake.asked} == {"Bearer sk-very-secret"}
    found = json.loads(told)
    assert [one["model"] for one in found["models"]] == [f"fake at {fake.url}", f"other at {fake.url}"]
    assert found["models"][0]["results"][0]["cost"]["dollars"] == pytest.approx(6 * (100 * 1 + 10 * 10) / 1e6)
    assert found["differences"]["gsm8k"]["difference"]["value"] == 0
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 3
    assert not [text for text in (told, *written) if "very-secret" in text]


def test_the_key_of_one_host_goes_to_no_other_unless_it_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    asked = ["--tasks", "gsm8k", "--limit", "1"]
    with serving(Fake(lambda body: "#### 4")) as fake:
        run(*asked, models=(fake.url,))
        run(*asked, "--key-from", "OPENAI_API_KEY", models=(f"other={fake.url}",))
        sent = [headers.get("authorization") for path, headers, _ in fake.asked if path.endswith("completions")]
    assert sent == [None, "Bearer sk-secret"]


def test_openais_own_host_gets_its_key_without_being_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert _key(None, "https://api.openai.com/v1") == "sk-secret"
    assert _key(None, "https://api.openai.com.example/v1") is None


def test_several_servers_stand_in_one_table_with_keys_and_prices_of_their_own(run, monkeypatch):
    monkeypatch.setenv("FIRST_KEY", "sk-first")
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    more = [
        "--tasks",
        "gsm8k",
        "--limit",
        "1",
        "--key-from",
        "127.0.0.1=FIRST_KEY",
        "--key-from",
        "localhost=SECOND_KEY",
    ]
    more += ["--price", "a=1,10", "--price", "b=2,20"]
    with serving(Fake(lambda body: "#### 0")) as fake:
        other = fake.url.replace("127.0.0.1", "localhost")
        models = (f"a={fake.url}", f"b={other}", f"c={fake.url}")
        told = json.loads(run(*more, "--json", models=models))["models"]
        sent = [(headers["Host"].split(":")[0], headers["authorization"]) for _, headers, _ in fake.asked]
        shown = run(*more, models=models)
    assert [one["results"][0]["cost"]["dollars"] for one in told] == [pytest.approx(2e-4), pytest.approx(4e-4), None]
    assert set(sent) == {("127.0.0.1", "Bearer sk-first"), ("localhost", "Bearer sk-second")}
    together = shown.partition("Together")[2].splitlines()
    assert [line.split()[1] for line in together if line.startswith(" gsm8k ")] == ["a", "b", "c"]


def test_a_page_that_can_not_be_written_costs_no_figure(model, rows, tmp_path, capsys):
    page = tmp_path / "page.html"
    with serving(Fake(lambda body: page.mkdir(exist_ok=True) or "#### 4")) as fake:
        arguments = ["--tasks", "gsm8k", "--limit", "1", "--data", str(rows), "--out", str(tmp_path / "out")]
        assert main(["eval", f"fake={fake.url}", *arguments, "--html", str(page)]) == 1
    assert "1 of 1" in capsys.readouterr().out


def test_the_answers_of_a_server_that_fails_are_shown_and_kept(model, rows, tmp_path, capsys):
    with serving(Fake()) as fake:
        fake.faults = [None] * 10 + [(403, {}, b'{"error": {"message": "no money left"}}')] * 100
        arguments = ["--tasks", "mmlu_anatomy", "--data", str(rows), "--out", str(tmp_path)]
        assert main(["eval", f"fake={fake.url}", *arguments]) == 1
        told = capsys.readouterr()
        assert "10 of 12" in told.out
        assert "answered with status 403: no money left" in told.err
        fake.faults = []
        assert main(["eval", f"fake={fake.url}", *arguments]) == 0
        assert "10 answers of an earlier run are among them." in capsys.readouterr().out


def test_a_question_that_a_server_refuses_is_shown_and_ends_nothing(run):
    with serving(Fake(lambda body: "#### 0")) as fake:
        fake.refuse = lambda body: (400, {}, b'{"error": "filtered"}') if "1 apples" in body["prompt"][-60:] else None
        shown = run("--tasks", "gsm8k", models=(f"fake={fake.url}",))
    assert "5 of 6" in shown
    assert "1 question refused, and in no score: " in shown


def test_what_the_first_model_answered_is_shown_where_the_second_can_not_be_loaded(model, rows, tmp_path, capsys):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF")
    page = tmp_path / "page.html"
    arguments = ["--tasks", "mmlu_anatomy", "--limit", "4", "--data", str(rows), "--out", str(tmp_path / "out")]
    assert main(["eval", str(model), str(damaged), *arguments, "--threads", "1", "--html", str(page)]) == 1
    told = capsys.readouterr()
    assert "4 of 4" in told.out
    assert str(damaged) in told.err
    assert "4 of 4" in page.read_text()


def test_a_wrong_name_is_told_before_the_other_model_is_asked(model, rows, tmp_path, capsys):
    arguments = ["--tasks", "mmlu_anatomy", "--data", str(rows), "--out", str(tmp_path / "out")]
    assert main(["eval", str(model), "no-such-model", *arguments]) == 1
    assert "no-such-model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_answer_at_all_is_said(rows, tmp_path, capsys):
    with serving(Fake()) as fake:
        fake.faults = [(200, {}, b'{"choices": [{"text": 7}]}')] * 100
        arguments = ["--tasks", "gsm8k", "--data", str(rows), "--out", str(tmp_path)]
        assert main(["eval", f"fake={fake.url}", *arguments]) == 1
    told = capsys.readouterr()
    assert "no question is answered yet" in told.out
    assert "a choice whose 'text' is missing or no text" in told.err


def test_a_server_with_several_models_is_told(rows, capsys):
    with serving(Fake()) as fake:
        fake.models = ["a", "b"]
        assert main(["eval", fake.url, "--tasks", "gsm8k", "--data", str(rows)]) == 1
    assert f"which model of {fake.url}? Give NAME={fake.url}; it has a, b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m", "--tasks", ","], "tasks is empty"),
        (["--tasks", "gsm8k"], "there are 0 models"),
        (["m", "--tasks", "gsm8k", "--budget", "soon"], "budget is 'soon'; give a time such as 90s"),
        (["m", "--tasks", "gsm8k", "--limit", "0"], "limit is 0"),
        (["m", "--tasks", "gsm8k", "--within", "60"], "within is 60.0"),
        (["m", "--tasks", "gsm8k", "--shots", "-1"], "shots is -1"),
        (["m", "--tasks", "gsm8k", "--samples", "2"], "samples is 2"),
        (["m", "--tasks", "gsm8k", "--temperature", "3"], "temperature is 3.0"),
        (["m", "--tasks", "gsm8k", "--max-tokens", "0"], "max-tokens is 0"),
        (["m", "--tasks", "gsm8k", "--data", "/nowhere"], "--data /nowhere is no folder"),
        (["m", "--tasks", "gsm8k", "--html", "/nowhere/page.html"], "html is '/nowhere/page.html'; there is no folder"),
        (["m", "--tasks", "gsm8k", "--html", "/"], "html is '/', which is a folder; give the name of a file"),
        (["m", "http://a:b@c", "--tasks", "gsm8k"], "must have no user, password"),
        (
            ["http://c", "--tasks", "gsm8k", "--key-from", "NO_SUCH_KEY"],
            "key-from is 'NO_SUCH_KEY', but the environment",
        ),
        (["http://c", "--tasks", "gsm8k", "--price=-1,2"], "price is '-1,2'; give dollars for 10^6 tokens"),
        (["http://c", "--tasks", "gsm8k", "--price", "none"], "there is no price of 'none'"),
        (
            ["http://c", "--tasks", "gsm8k", "--key-from", "d=A"],
            "key-from names 'd', where no server is; the hosts are c",
        ),
        (["http://c", "--tasks", "gsm8k", "--price", "1,2", "--price", "3,4"], "price is given twice, 1,2 and 3,4"),
        (["http://c", "--tasks", "gsm8k", "--patience", "0s"], "patience is '0s'; give a time"),
    ],
)
def test_bad_input_is_told(arguments, words, capsys):
    assert main(["eval", *arguments]) == 1
    assert words in capsys.readouterr().err


@pytest.fixture
def heeded():
    """A process that was begun in a shell's background ignores SIGINT, and so would those that it begins."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("heeded")
def test_an_interrupted_run_shows_what_it_has_and_goes_on_later(model, rows, tmp_path, capsys):
    arguments = ["eval", str(model), "--tasks", "gsm8k", "--data", str(rows), "--out", str(tmp_path / "out")]
    arguments += ["--threads", "1", "--temperature", "1", "--max-tokens", "30", "--html", str(tmp_path / "page.html")]
    command = [sys.executable, "-m", "divebell", *arguments, "--samples", "99"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: process.poll() is not None or answers_in(tmp_path / "out") > 3)
        process.send_signal(signal.SIGINT)
        shown, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.strip().endswith("divebell: interrupted; the same command goes on from here")
    kept = answers_in(tmp_path / "out")
    assert 3 < kept < 594
    assert "exact_match" in shown
    assert "The run ended early: interrupted" in (tmp_path / "page.html").read_text()
    assert main([*arguments, "--samples", "99", "--limit", "1"]) == 0
    assert "of an earlier run" in capsys.readouterr().out


def until(reached) -> None:
    end = time.monotonic() + 60
    while not reached() and time.monotonic() < end:
        time.sleep(0.02)


def answers_in(folder) -> int:
    return sum(len(path.read_bytes().splitlines()) - 1 for path in folder.glob("*.jsonl"))

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from servers import adapter, small_model

from divebell.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("small"))


@contextmanager
def serving(*arguments):
    """The process, and where it listens."""
    command = [sys.executable, "-m", "divebell", "serve", *map(str, arguments), "--port", "0", "--ram", "700MB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = process.stderr.readline()
            assert "ready at http://" in ready, ready + process.stderr.read()
            yield process, re.search(r"http://\S+(?=,)", ready)[0]
        finally:
            process.kill()


def test_it_serves_until_it_is_told_to_stop(folder):
    with serving(f"chat={folder}@500MB", "--context", "1024") as (process, url):
        assert httpx.get(f"{url}/health").json() == {"status": "ok", "models": ["chat"]}
        answer = httpx.post(f"{url}/v1/completions", json={"model": "chat", "prompt": "x", "max_tokens": 3})
        assert answer.json()["usage"]["prompt_tokens"] == 1
        process.send_signal(signal.SIGTERM)
        log, notes = process.communicate(timeout=20)
    assert process.returncode == 0
    assert [json.loads(line)["path"] for line in log.splitlines()] == ["/health", "/v1/completions"]
    assert "SIGTERM: no new requests; those in flight have 30 s" in notes


def test_how_fast_the_machine_reads_is_measured_once_it_is_ready(folder):
    with serving(f"chat={folder}") as (_, url):
        ask = {"model": "chat", "prompt": "x", "max_tokens": 3, "ignore_eos": True}
        assert httpx.post(f"{url}/v1/completions", json=ask).status_code == 200
        share = re.search(r'divebell_share_of_floor\{model="chat"\} (\S+)', httpx.get(f"{url}/metrics").text)
        assert float(share[1]) > 0


def test_a_folder_of_adapters_is_open_to_clients(folder, tmp_path):
    adapter(tmp_path / "sql", 1)
    with serving(folder, "--adapters", tmp_path) as (_, url):
        asked = {"lora_name": "sql", "lora_path": "sql"}
        assert httpx.post(f"{url}/v1/load_lora_adapter", json=asked).json()["parent"] == folder.name
        assert httpx.get(f"{url}/health").json()["models"] == [folder.name, "sql"]


def test_what_a_signal_interrupts_ends_first(folder):
    with serving(folder) as (process, url):
        ask = {"model": folder.name, "prompt": "x", "max_tokens": 500, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=ask) as answer:
            lines = answer.iter_lines()
            while not next(lines).startswith("data:"):
                pass
            process.send_signal(signal.SIGINT)
            assert list(lines)[-2] == "data: [DONE]"
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "which other machines can reach, and there are no API keys"),
        (["--max-queue", "0"], "--max-queue is 0; it must be 1 or more"),
        (["--max-body", "much"], "max_body is 'much'"),
        (["--port", "70000"], "port is 70000; it must be 0 to 65535"),
        (["--api-key-file", os.devnull], "has no keys"),
        (["--adapters", "nowhere"], "--adapters is nowhere, which is not a folder"),
        (["--adapters", ".", "--admin", "anna"], "--admin is anna, which no key is called; there are: none"),
        (["smollm2-135m", "smollm2-135m"], "two models are called smollm2-135m"),
        (["smollm2-135m@900TiB"], "the models' own budgets sum to 900.0 TiB"),
    ],
)
def test_what_can_t_be_is_refused_before_anything_is_loaded(arguments, says, capsys, folder):
    models = [] if arguments[0][0] != "-" else [str(folder)]
    assert main(["serve", *models, *arguments]) == 1
    assert says in capsys.readouterr().err


def test_without_a_model_there_is_nothing_to_serve(capsys):
    assert main(["serve"]) == 1
    assert "there is no model to serve; give one or more" in capsys.readouterr().err

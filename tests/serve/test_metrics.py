import httpx
import pytest
from openai import OpenAI
from servers import running, service_of


def client_of(server):
    return OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_figures_are_counted(folder):
    with running(service_of({"small": folder}, gb_per_s=4.0)) as server, client_of(server) as client:
        ask = {"model": "small", "prompt": [[1, 2, 3], [4, 5]], "extra_body": {"ignore_eos": True}}
        client.completions.create(**ask, max_tokens=4)
        server.wait_until(lambda: len(server.lines()) == 1)
        figures = dict(
            line.rsplit(" ", 1) for line in httpx.get(f"{server.url}/metrics").text.splitlines() if line[0] != "#"
        )
        model = '{model="small"}'
        assert figures[f"divebell_prompt_tokens_total{model}"] == "5.0"
        assert figures[f"divebell_completion_tokens_total{model}"] == "8.0"
        assert figures[f"divebell_time_to_first_token_seconds_count{model}"] == "2.0"
        assert figures[f"divebell_time_per_token_seconds_count{model}"] == "2.0"
        assert figures[f"divebell_batch_size_sum{model}"] == "8.0"
        assert figures[f"divebell_running{model}"] == "0.0"
        least, took = (float(figures[f"divebell_{name}_seconds_total{model}"]) for name in ("floor", "step"))
        steps = float(figures[f"divebell_batch_size_count{model}"])
        assert least == pytest.approx(steps * server.service.models["small"].llm.info.active_bytes / 4e9)
        assert float(figures[f"divebell_share_of_floor{model}"]) == pytest.approx(least / took)
        assert float(figures['divebell_cache_pages{model="small",state="total"}']) > 0
        path = 'divebell_requests_total{model="small",path="/v1/completions",status="200"}'
        assert figures[path] == "1.0"


def test_a_prompt_counts_once_however_many_answers_it_has(folder):
    with running(service_of({"small": folder})) as server, client_of(server) as client:
        more = {"max_tokens": 4, "n": 3, "extra_body": {"ignore_eos": True}}
        talk = [{"role": "user", "content": "Hello"}]
        usages = [
            client.completions.create(model="small", prompt=[[1, 2, 3], [4, 5]], **more).usage,
            client.chat.completions.create(model="small", messages=talk, **more).usage,
            client.chat.completions.create(model="small", messages=talk, **more).usage,
        ]
        server.wait_until(lambda: len(server.lines()) == 3)
        told = [[u.prompt_tokens, u.prompt_tokens_details.cached_tokens, u.completion_tokens] for u in usages]
        kinds = ("prompt_tokens", "cached_tokens", "completion_tokens")
        assert [[line[kind] for kind in kinds] for line in server.lines()] == told
        figures = httpx.get(f"{server.url}/metrics").text
    for kind, each in zip(kinds, zip(*told, strict=True), strict=True):
        assert f'divebell_{kind}_total{{model="small"}} {sum(each)}.0' in figures


def test_made_up_names_and_paths_are_not_counted_each(folder):
    with running(service_of({"small": folder})) as server, httpx.Client(base_url=server.url) as client:
        for number in range(3):
            assert client.get(f"/v1/models/made/up/{number}").status_code == 404
            assert client.get(f"/made-up/{number}").status_code == 404
        server.wait_until(lambda: len(server.lines()) == 6)
        counted = [line for line in client.get("/metrics").text.splitlines() if "requests_total{" in line]
    assert sorted(counted) == [
        'divebell_requests_total{model="",path="/v1/models/{name}",status="404"} 3.0',
        'divebell_requests_total{model="",path="other",status="404"} 3.0',
    ]


def test_the_floor_is_known_from_when_the_machine_is_measured(folder, monkeypatch):
    """Steps before that are counted, and not held against it."""
    monkeypatch.setattr("divebell.serve.service.read_gb_per_s", lambda seconds, most: 4.0)
    with running(service_of({"small": folder})) as server, client_of(server) as client:
        client.completions.create(model="small", prompt="x", max_tokens=3)
        assert "divebell_share_of_floor{" not in httpx.get(f"{server.url}/metrics").text
        server.service.measure()
        server.wait_until(lambda: server.service.gb_per_s == 4.0)
        client.completions.create(model="small", prompt="y", max_tokens=5, extra_body={"ignore_eos": True})
        server.wait_until(lambda: len(server.lines()) == 3)
        figures = httpx.get(f"{server.url}/metrics").text
        [floor] = [float(line.split()[1]) for line in figures.splitlines() if "floor_seconds_total{" in line]
        each = server.service.models["small"].llm.info.active_bytes / 4e9
        assert floor == pytest.approx(5 * each)
        assert 'divebell_share_of_floor{model="small"}' in figures

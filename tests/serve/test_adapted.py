"""Adapters under names of their own, on the server of their model."""

import asyncio

import httpx
import pytest
from servers import GO_ON, adapter, running, service_of, text, together

import divebell
from divebell.errors import BadInput

SAY = {"messages": [{"role": "user", "content": "Say something"}], "temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("adapters")
    return {"sql": adapter(place / "sql", 1), "poet": adapter(place / "poet", 2)}


@pytest.fixture(scope="module")
def adapted(folder, folders):
    service = service_of({"small": folder})
    for name, path in folders.items():
        service.add_adapter(name, path, "small")
    with running(service) as one:
        yield one


@pytest.mark.parametrize("name", ["sql", "poet", None])
def test_a_name_asks_for_the_adapter(adapted, folder, folders, name):
    with divebell.load(folder, adapters=folders, context=4096) as llm:
        expected = llm.generate(GO_ON["prompt"], adapter=name, temperature=0, max_tokens=12).text
        said = llm.chat(SAY["messages"], adapter=name, temperature=0, max_tokens=12).text
    with httpx.Client(base_url=adapted.url, timeout=60) as client:
        assert text(client.post("/v1/completions", json=GO_ON | {"model": name or "small"})) == expected
        assert text(client.post("/v1/chat/completions", json=SAY | {"model": name or "small"})) == said


def test_answers_at_the_same_time_are_those_alone_and_differ(adapted):
    names = ["small", "sql", "poet"]

    async def ask(client, name):
        return text(await client.post("/v1/completions", json=GO_ON | {"model": name}))

    async def all_of_them():
        async with httpx.AsyncClient(base_url=adapted.url, timeout=60) as client:
            alone = [await ask(client, name) for name in names]
            return alone, await asyncio.gather(*(ask(client, name) for name in names))

    ((alone, at_once),) = together(all_of_them())
    assert at_once == alone
    assert len(set(alone)) == 3


def test_they_are_listed_and_logged_by_their_names(adapted):
    with httpx.Client(base_url=adapted.url, timeout=60) as client:
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["small", "sql", "poet"]
        assert client.get("/v1/models/poet").json()["max_model_len"] == 4096
        assert client.get("/health").json()["models"] == ["small", "sql", "poet"]
        answer = client.post("/v1/completions", json=GO_ON | {"model": "poet"}).json()
        assert answer["model"] == "poet"
        refused = client.post("/v1/completions", json=GO_ON | {"model": "novelist"})
    assert refused.status_code == 404
    assert "served here: small, sql, poet" in refused.text
    adapted.wait_until(lambda: any(line["model"] == "poet" for line in adapted.lines()))


def test_what_can_not_be_is_told(folder, folders):
    with service_of({"small": folder}) as service:
        service.add_adapter("sql", folders["sql"], "small")
        for name in ("sql", "small"):
            with pytest.raises(BadInput, match=f"two models or adapters are called {name}"):
                service.add_adapter(name, folders["poet"], "small")
        with pytest.raises(BadInput, match="the adapter poet is for large; the models served are small"):
            service.add_adapter("poet", folders["poet"], "large")
        assert list(service.offers) == ["small", "sql"]

"""Adapters that clients load and drop while the server runs."""

import asyncio
import json
import os
from contextlib import contextmanager

import httpx
import pytest
from servers import GO_ON, adapter, running, service_of, text

import divebell
from divebell.errors import BadInput
from divebell.serve.keys import Keys
from divebell.serve.shelf import Shelf

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
KEYS = {"anna": "sk-anna-1234", "bert": "sk-bert-1234"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with two adapters, in folders of folders, and what leads out of it."""
    place = tmp_path_factory.mktemp("place")
    (place / "shelf" / "team").mkdir(parents=True)
    adapter(place / "shelf" / "sql", 1)
    adapter(place / "shelf" / "team" / "poet", 2)
    adapter(place / "outside", 3)
    os.symlink(place / "outside", place / "shelf" / "link")
    os.symlink("sql", place / "shelf" / "inner")
    os.symlink("ring", place / "shelf" / "ring")
    (place / "shelf" / "files").mkdir()
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        os.symlink(place / "outside" / file, place / "shelf" / "files" / file)
    (place / "shelf" / "empty").mkdir()
    return place / "shelf"


@contextmanager
def serving(service, shelf):
    with running(service, shelf) as one, httpx.Client(base_url=one.url, timeout=60) as client:
        yield one, client


@pytest.fixture
def open_to_all(folder, shelf):
    with serving(service_of({"small": folder}), Shelf(shelf, Keys({}))) as pair:
        yield pair


def names(client):
    return [one["id"] for one in client.get("/v1/models").raise_for_status().json()["data"]]


def load(client, name, path, **more):
    return client.post(LOAD, json={"lora_name": name, "lora_path": str(path)} | more)


def ask(client, name):
    return client.post("/v1/completions", json=GO_ON | {"model": name})


def test_what_is_loaded_is_there_at_once_and_gone_at_once(open_to_all, folder, shelf):
    server, client = open_to_all
    assert ask(client, "sql").status_code == 404
    loaded = load(client, "sql", "sql").raise_for_status().json()
    assert (loaded["id"], loaded["parent"], loaded["object"]) == ("sql", "small", "model")
    assert load(client, "poet", "team/poet", base_model_name="small").status_code == 200
    assert names(client) == ["small", "sql", "poet"]
    with divebell.load(folder, adapters={"sql": shelf / "sql"}, context=4096) as llm:
        expected = llm.generate(GO_ON["prompt"], adapter="sql", temperature=0, max_tokens=12).text
    assert text(ask(client, "sql")) == expected != text(ask(client, "poet"))
    assert 'divebell_adapters{model="small"} 2.0' in client.get("/metrics").text
    assert client.post(UNLOAD, json={"lora_name": "sql"}).json() == {"id": "sql", "object": "model", "deleted": True}
    assert names(client) == ["small", "poet"]
    assert ask(client, "sql").status_code == 404
    assert load(client, "sql", shelf / "sql").status_code == 200
    assert text(ask(client, "sql")) == expected
    assert load(client, "again", "inner").status_code == 200
    server.wait_until(lambda: len(server.lines()) >= 12)
    assert [line["model"] for line in server.lines() if line["path"] == UNLOAD] == ["sql"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("../outside", 400, "leads out of the folder"),
        ("sql/../../outside", 400, "leads out of the folder"),
        ("link", 400, "leads out of the folder"),
        ("files", 400, "leads out of the folder"),
        ("ring", 400, "or nowhere"),
        ("/etc", 400, "leads out of the folder"),
        ("x" * 5000, 400, "or nowhere"),
        ("a\0b", 400, "or nowhere"),
        ("novel", 404, "there is no folder 'novel'"),
        ("empty", 400, "lora_path: empty is no adapter: it must be a folder with"),
        ("sql/adapter_config.json", 404, "there is no folder"),
    ],
)
def test_paths_stay_within_the_folder(open_to_all, shelf, path, status, says):
    _, client = open_to_all
    answer = load(client, "name", path)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, "lora_path")
    assert says in answer.json()["error"]["message"]
    assert str(shelf) not in answer.text
    assert names(client) == ["small"]


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({"lora_name": "small", "lora_path": "sql"}, 400, "there is a model or an adapter 'small' already"),
        ({"lora_name": "a/b", "lora_path": "sql"}, 400, "lora_name: an adapter can't be called 'a/b'"),
        ({"lora_name": "x" * 101, "lora_path": "sql"}, 400, "at most 100 are allowed"),
        ({"lora_name": "sql", "lora_path": "sql", "base_model_name": "large"}, 404, "there is no model 'large'"),
        ({"lora_name": "sql", "lora_path": "sql", "load_inplace": True}, 400, "load_inplace"),
        ({"lora_name": "sql", "lora_path": "sql", "rank": 3}, 400, "rank: this field is not known here"),
        ({"lora_name": "sql"}, 400, "lora_path: this field is needed"),
    ],
)
def test_what_can_not_be_loaded_is_told(open_to_all, asked, status, says):
    _, client = open_to_all
    answer = client.post(LOAD, json=asked)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    gone = client.post(UNLOAD, json={"lora_name": "sql"})
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, "lora_name")
    assert "there is no adapter 'sql'; loaded: none" in gone.text


def test_what_is_no_adapter_of_the_model_or_does_not_fit_is_the_clients_fault(open_to_all, shelf, tmp_path):
    server, client = open_to_all
    foreign = adapter(shelf / "foreign", 5)
    config = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    assert (
        "lora_path: foreign/adapter_model.safetensors: "
        in load(client, "foreign", "foreign").json()["error"]["message"]
    )
    (foreign / "adapter_model.safetensors").write_bytes(b"nonsense")
    assert load(client, "foreign", "foreign").status_code == 400
    engine = server.service.models["small"].llm.engine
    spare = engine._core.cache.num_pages
    engine._core.cache.num_pages = 64  # one context
    answer = load(client, "sql", "sql")
    engine._core.cache.num_pages = spare
    assert answer.status_code == 400
    assert "of the cache can be spared; give more ram" in answer.text
    assert names(client) == ["small"]


def test_several_models_need_a_name(folder, base_folder, shelf):
    with serving(service_of({"small": folder, "base": base_folder}), Shelf(shelf, Keys({}))) as (_, client):
        assert "base_model_name: is needed here" in load(client, "sql", "sql").text
        assert load(client, "sql", "sql", base_model_name="base").json()["parent"] == "base"


def test_without_a_folder_it_says_how_to_have_one(folder):
    with serving(service_of({"small": folder}), None) as (_, client):
        for answer in (load(client, "sql", "sql"), client.post(UNLOAD, json={"lora_name": "sql"})):
            assert answer.status_code == 403
            assert "--adapters FOLDER" in answer.json()["error"]["message"]


def test_only_an_admins_key_may(folder, shelf):
    guarded = service_of({"small": folder}, KEYS)
    with serving(guarded, Shelf(shelf, Keys(KEYS), ["anna"])) as (_, client):
        assert load(client, "sql", "sql").status_code == 401
        for key, status in (("sk-bert-1234", 403), ("sk-anna-1234", 200), ("sk-bert-1234", 403)):
            client.headers["authorization"] = f"Bearer {key}"
            answer = load(client, "sql", "sql")
            assert answer.status_code == status
        assert "the key of bert may not load and drop adapters; allow it with --admin" in answer.text
        assert client.post(UNLOAD, json={"lora_name": "sql"}).status_code == 403
        assert "sql" in names(client)


def test_a_shelf_that_can_t_be_is_refused(shelf):
    with pytest.raises(BadInput, match="which is not a folder"):
        Shelf(shelf / "none", Keys({}))
    with pytest.raises(BadInput, match="needs --admin NAME"):
        Shelf(shelf, Keys(KEYS))
    with pytest.raises(BadInput, match="--admin is carl, which no key is called; there are: anna, bert"):
        Shelf(shelf, Keys(KEYS), ["anna", "carl"])


def test_requests_go_on_while_adapters_come_and_go(open_to_all):
    """Who has begun ends with the adapter that it asked for; who comes too late is told so."""
    server, sync = open_to_all
    load(sync, "sql", "sql").raise_for_status()
    expected = {name: text(ask(sync, name)) for name in ("small", "sql")}

    async def come_and_go(client):
        for _ in range(6):
            assert (await client.post(UNLOAD, json={"lora_name": "sql"})).status_code == 200
            assert (await client.post(LOAD, json={"lora_name": "sql", "lora_path": "sql"})).status_code == 200
            at_once = [client.post(LOAD, json={"lora_name": "poet", "lora_path": "team/poet"}) for _ in range(3)]
            assert sorted(one.status_code for one in await asyncio.gather(*at_once)) == [200, 400, 400]
            assert (await client.post(UNLOAD, json={"lora_name": "poet"})).status_code == 200

    async def keep_asking(client, name, found):
        for _ in range(25):
            answer = await client.post("/v1/completions", json=GO_ON | {"model": name})
            assert answer.status_code in ((200,) if name == "small" else (200, 400, 404)), answer.text
            if answer.status_code == 200:
                found.append(answer.json()["choices"][0]["text"])

    async def all_of_them():
        found = {"small": [], "sql": []}
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            asking = [keep_asking(client, name, found[name]) for name in ("small", "sql", "sql")]
            await asyncio.gather(come_and_go(client), *asking)
        return found

    found = asyncio.run(all_of_them())
    assert {name: set(texts) for name, texts in found.items()} == {name: {expected[name]} for name in expected}
    server.check_idle()
    lent = server.service.models["small"].llm.engine.state()["pages_lent"]
    assert lent == len(server.service.models["small"].llm.engine._core.adapters.named["sql"].room)


def test_an_answer_that_has_begun_ends_with_its_adapter(open_to_all):
    server, client = open_to_all
    load(client, "sql", "sql").raise_for_status()
    asked = GO_ON | {"model": "sql", "max_tokens": 400, "ignore_eos": True}
    expected = text(client.post("/v1/completions", json=asked))
    pieces = []
    with client.stream("POST", "/v1/completions", json=asked | {"stream": True}) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                if not pieces:
                    assert httpx.post(server.url + UNLOAD, json={"lora_name": "sql"}).status_code == 200
                pieces.append(json.loads(line[6:])["choices"][0]["text"])
    assert "".join(pieces) == expected

import hashlib
import json

import file_server
import pytest
from huggingface_hub import constants

from divebell.errors import BadInput, PullError
from divebell.weights import hub
from divebell.weights.pull import pull, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}',
    "model-1.safetensors": b"one" * 999,
    "model-2.safetensors": b"two" * 999,
    "consolidated.safetensors": b"the same again",
    "pytorch_model.bin": b"a pickle",
    "modeling_custom.py": b"raise SystemExit",
    "../../escape.json": b"outside",
    "LICENSE": b"MIT",
}


def publish(server, repository: str, files: dict[str, bytes], **false_hashes: str) -> None:
    siblings = []
    for name, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        stated = {"sha256": false_hashes.get(name.partition(".")[0].replace("-", ""), sha256), "size": len(content)}
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        large = name.endswith(("safetensors", "gguf"))
        siblings.append({"rfilename": name, "blobId": blob, "lfs": stated if large else None})
        path = f"/{repository}/resolve/{COMMIT}/{name}"
        server.files[path] = content
        server.scripts[path] = [answer_with_commit(sha256)] * 9
    listing = json.dumps({"sha": COMMIT, "siblings": siblings}).encode()
    for revision in ("main", COMMIT):
        server.files[f"/api/models/{repository}/revision/{revision}?blobs=true"] = listing


def answer_with_commit(etag: str):
    def answer(handler, content):
        headers = {"ETag": f'"{etag}"', "Content_Length": len(content), "X_Repo_Commit": COMMIT}
        handler.start(200, **headers)
        if handler.command == "GET":
            handler.wfile.write(content)

    return answer


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with file_server.file_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_repository_without_its_pickles_code_and_second_copies(server):
    publish(server, "org/model", FILES)
    folder = pull("org/model")
    names = {path.name for path in folder.iterdir()}
    wanted = {"config.json", "tokenizer.json", "model.safetensors.index.json", "LICENSE"}
    assert names == wanted | {"model-1.safetensors", "model-2.safetensors"}
    assert (folder / "model-2.safetensors").read_bytes() == FILES["model-2.safetensors"]
    assert server.requests[0][1]["Authorization"] == "Bearer hf_secret"


def test_what_is_here_is_not_asked_for_again(server):
    publish(server, "org/model", FILES)
    folder = resolve("org/model")
    server.requests.clear()
    assert resolve("org/model") == folder
    assert not server.requests
    (folder / "model-1.safetensors").unlink()
    assert resolve("org/model") == folder
    assert server.requests


def test_a_weight_file_with_another_hash_is_removed(server, tmp_path):
    publish(server, "org/model", FILES, model2="00" * 32)
    with pytest.raises(PullError, match=f"model-2.safetensors has SHA-256 [0-9a-f]{{64}}, not {'00' * 32}"):
        pull("org/model")
    assert not list(tmp_path.rglob("model-2.safetensors"))
    assert hub.cached("org/model") is None


def test_one_gguf_of_a_repository_and_all_its_parts(server):
    parts = {f"big-0000{n}-of-00003.gguf": bytes([n]) for n in (1, 2, 3)}
    publish(server, "org/ggufs", {"small.gguf": b"GGUF", **parts})
    assert pull("org/ggufs:small.gguf").read_bytes() == b"GGUF"
    first = resolve("org/ggufs:big-00001-of-00003.gguf")
    assert sorted(path.name for path in first.parent.iterdir()) == [*sorted(parts), "small.gguf"]
    assert first.read_bytes() == b"\x01"


def test_what_a_repository_lacks_is_named(server):
    publish(server, "org/ggufs", {"small.gguf": b"GGUF"})
    with pytest.raises(BadInput, match=r"no config.json with safetensors; name one .* org/ggufs:small.gguf"):
        pull("org/ggufs")
    with pytest.raises(BadInput, match=r"has no such file; it has small.gguf"):
        pull("org/ggufs:other.gguf")
    with pytest.raises(PullError, match=r"org/none could not be fetched: 127.0.0.1 answered 404"):
        pull("org/none")


def test_an_unreadable_listing_is_a_clear_error(server):
    for listing in (
        b"",
        b"[]",
        b'{"sha": "../..", "siblings": []}',
        b'{"sha": 1, "siblings": [1]}',
        b'{"siblings": 3}',
    ):
        server.files["/api/models/org/model/revision/main?blobs=true"] = listing
        with pytest.raises(PullError, match="listing of org/model can't be read"):
            pull("org/model")


def test_offline_only_the_cache_is_used(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PullError, match="HF_HUB_OFFLINE"):
        resolve("org/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    publish(server, "org/model", FILES)
    folder = resolve("org/model")
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pull("org/model") == resolve("org/model") == folder
    assert not server.requests

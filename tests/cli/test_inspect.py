"""What a model is, from its headers: the same figures as transformers counts, and no weight is read for them."""

import hashlib
import json
import shutil
import time

import numpy as np
import pytest
from checkpoints import CONFIG_OF_LLAMA, build
from test_description import V2_LITE

from divebell.cli import main
from divebell.models.synth import plan
from divebell.weights.catalogue import CATALOGUE
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.entry import Entry
from divebell.weights.store import record
from divebell.weights.write_gguf import write_gguf


@pytest.fixture
def inspected(capsys):
    """inspected(path, *options) -> the JSON object that is printed."""

    def run(path: object, *options: str) -> dict:
        assert main(["inspect", str(path), "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    (folder / "config.json").write_text(json.dumps(CONFIG_OF_LLAMA))
    assert main(["synth", str(folder / "config.json"), "--out", str(folder / "m.gguf"), "--format", "q8_0"]) == 0
    return folder / "m.gguf"


def test_a_folder(tiny, inspected):
    folder = tiny("deepseek_v3")
    told, model = inspected(folder), build("deepseek_v3")
    corrections = sum(tensor.numel() for name, tensor in model.named_buffers() if "correction" in name)
    assert told["architecture"] == "deepseek_v3"
    assert told["parameters"] == sum(tensor.numel() for tensor in model.parameters()) + corrections
    assert (
        told["active_parameters"] == told["parameters"] - 320 * 64 - 2 * 12 * 3 * 32 * 64
    )  # 4 of 16 experts, 2 layers
    assert (told["layers"], told["vocabulary"], told["context"]) == (3, 320, 32768)
    assert told["cache_bytes_per_token"] == 2 * 3 * (32 + 16)
    assert told["bytes_by_format"] == {"F32": 4 * told["parameters"]}
    assert sum(told["bytes_by_kind"].values()) == 4 * told["parameters"]
    assert told["bytes_by_kind"]["experts"] == 4 * 2 * 16 * 3 * 32 * 64
    assert (told["licence"], told["source"], told["tokenizer"], told["chat_template"]) == (None, None, None, False)
    size = (folder / "model.safetensors").stat().st_size
    assert told["files"] == [{"name": "model.safetensors", "bytes": size, "sha256": None}]
    assert told["path"] == str(folder)


def test_a_gguf_file(gguf, inspected):
    told = inspected(gguf)
    parameters = 2 * 300 * 64 + 64 + 2 * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64)
    assert (told["architecture"], told["parameters"]) == ("llama", parameters)
    assert told["active_parameters"] == parameters - 300 * 64
    assert told["cache_bytes_per_token"] == 2 * 2 * 2 * 64
    assert told["bytes_by_format"] == {"Q8_0": (parameters - 5 * 64) * 34 // 32, "F32": 5 * 64 * 4}
    assert sum(told["bytes_by_kind"].values()) == sum(told["bytes_by_format"].values())
    assert told["bytes_by_kind"]["embedding"] == told["bytes_by_kind"]["head"] == 300 * 64 * 34 // 32
    assert told["files"] == [{"name": "m.gguf", "bytes": gguf.stat().st_size, "sha256": None}]
    assert told["tokenizer"]


def test_what_a_gguf_file_says_of_its_licence_and_source(gguf, tmp_path, inspected):
    whole, path = open_checkpoint(gguf), tmp_path / "licensed.gguf"
    metadata = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in whole.config.items()}
    del metadata["general.architecture"]
    metadata |= {"general.license": "mit", "general.source.url": "https://example.org/m"}
    entries = [Entry(tensor.name, tensor.shape, tensor.format) for tensor in whole.tensors.values()]
    write_gguf(path, "llama", metadata, entries, (tensor.data for tensor in whole.tensors.values()))
    told = inspected(path)
    assert (told["licence"], told["source"]) == ("mit", "https://example.org/m")


def test_a_pulled_model_has_the_catalogues_licence(gguf, inspected, monkeypatch):
    entry = next(iter(CATALOGUE.values()))
    monkeypatch.setattr("divebell.weights.here.pulled", lambda name: gguf if name == entry.name else None)
    for model in (entry.name, gguf):
        told = inspected(model)
        assert (told["licence"], told["source"]) == (entry.licence, entry.origin)


def test_a_hash_is_computed_when_asked_for_or_already_known(gguf, tmp_path, inspected):
    path = shutil.copy(gguf, tmp_path / "m.gguf")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert inspected(path, "--hash")["files"][0]["sha256"] == sha256
    record(path, sha256, "here")
    assert inspected(path)["files"][0]["sha256"] == sha256


def test_a_shape_without_weights(gguf, inspected):
    told, whole = inspected(gguf.parent / "config.json"), inspected(gguf)
    same = (
        "architecture",
        "parameters",
        "active_parameters",
        "cache_bytes_per_token",
        "layers",
        "vocabulary",
        "context",
    )
    assert [told[key] for key in same] == [whole[key] for key in same]
    assert "files" not in told


def test_no_weight_is_read(tmp_path, inspected):
    """31 GB that are not there: a hole in the file, which takes long to read and no space to keep."""
    config = {key: value for key, value in V2_LITE.items() if key != "num_nextn_predict_layers"}
    config |= {"topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": False}
    header, end = {}, 0
    for random in plan(config, "bf16", folder=True).randoms:
        entry = random.entry
        header[entry.name] = {
            "dtype": entry.format.name,
            "shape": entry.shape,
            "data_offsets": [end, end := end + entry.nbytes],
        }
    raw = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
    (tmp_path / "config.json").write_text(json.dumps(config))
    begin = time.process_time()
    told = inspected(tmp_path)
    assert time.process_time() - begin < 3
    assert told["parameters"] == pytest.approx(15.706e9, rel=1e-3)
    assert told["active_parameters"] == pytest.approx(2.451e9, rel=1e-3)
    assert sum(told["bytes_by_kind"].values()) == end > 31e9


def test_for_people(tiny, gguf, capsys):
    for path, words in (
        (tiny("deepseek_v3"), ["deepseek_v3", "for each token", "experts", "model.safetensors", "(--hash)"]),
        (gguf.parent / "config.json", ["llama", "300"]),
    ):
        assert main(["inspect", str(path)]) == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in words), shown


def test_what_can_not_be_inspected_is_told(gguf, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DIVEBELL_HOME", str(tmp_path / "home"))
    short = tmp_path / "short.gguf"
    short.write_bytes(gguf.read_bytes()[:1000])
    name = next(iter(CATALOGUE))
    for model, words in (
        (short, f"{short}: "),
        ("no-such-model", "model is 'no-such-model': there is no such file or folder, and no model of that name"),
        ("models/none.gguf", "model is 'models/none.gguf': there is no such file or folder; check the path"),
        (name, f"is not on this machine yet; fetch it with: divebell pull {name}"),
        (tmp_path, f"{tmp_path}: config.json: missing"),
    ):
        assert main(["inspect", str(model), "--json"]) == 1
        written = capsys.readouterr()
        assert words in written.err
        assert not written.out

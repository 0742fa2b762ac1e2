"""A model's files as one: shards that an index joins, the configuration, and what is refused before it is opened."""

import json
import os

import ml_dtypes
import numpy as np
import pytest
from hostile import check_limits, check_message, outcomes, readable, replace
from hostile_json import damaged_json
from safetensors.numpy import save_file

from divebell.errors import BadFile, BadInput
from divebell.weights.checkpoint import INDEX, SINGLE, open_checkpoint

CONFIG = {"model_type": "llama", "hidden_size": 64, "rope_scaling": {"type": "yarn", "factor": 2.0}, "ids": [1, 2]}
SCALES = np.float32([[2], [3]])
SHARDS = {
    "model-00001-of-00002.safetensors": {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "w": np.ones((130, 2), ml_dtypes.float8_e4m3fn),
    },
    "model-00002-of-00002.safetensors": {"b": np.float16([1, 2]), "w_scale_inv": SCALES, "ids": np.arange(3)},
}
FIRST, SECOND = SHARDS
WEIGHT_MAP = {name: file for file, tensors in SHARDS.items() for name in tensors}
WHOLE_INDEX = {"metadata": {"total_size": 322}, "weight_map": WEIGHT_MAP}


@pytest.fixture
def folder(tmp_path):
    """Two shards and their index. They lie in a folder of their own, so that its name is in no message by chance."""
    folder = tmp_path / "sharded"
    folder.mkdir()
    for file, tensors in SHARDS.items():
        save_file(tensors, folder / file)
    (folder / INDEX).write_text(json.dumps(WHOLE_INDEX))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def test_shards_are_joined(folder):
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.kind, checkpoint.architecture, checkpoint.config) == ("safetensors", "llama", CONFIG)
    assert [file.name for file in checkpoint.files] == [FIRST, SECOND]
    assert checkpoint.file_sizes == {file: file.stat().st_size for file in checkpoint.files}
    assert set(checkpoint.tensors) == {"a", "w", "b", "ids"}
    np.testing.assert_array_equal(checkpoint.tensors["a"].f32(), SHARDS[FIRST]["a"])
    np.testing.assert_array_equal(checkpoint.tensors["b"].f32(), [1, 2])


def test_scales_may_lie_in_another_shard(folder):
    matrix = open_checkpoint(folder).tensors["w"]
    np.testing.assert_array_equal(matrix.f32(), np.repeat([[2, 2], [3, 3]], [128, 2], axis=0))


def test_closing_lets_go_of_the_tensors(folder):
    checkpoint = open_checkpoint(folder)
    taken = checkpoint.tensors["b"]
    checkpoint.close()
    assert not checkpoint.tensors
    np.testing.assert_array_equal(taken.f32(), [1, 2])


def test_a_file_that_holds_all_is_taken_before_an_index_and_by_any_name(folder):
    save_file({"c": np.float32([1])}, folder / SINGLE)
    assert set(open_checkpoint(folder).tensors) == {"c"}
    for file in (FIRST, SECOND, INDEX):
        (folder / file).unlink()
    (folder / SINGLE).rename(folder / "weights.safetensors")
    assert set(open_checkpoint(folder).tensors) == {"c"}


def test_what_an_index_needs_not_have_is_passed_over(folder):
    (folder / INDEX).write_text(json.dumps({"weight_map": WEIGHT_MAP, "more": [1]}))
    assert len(open_checkpoint(folder).tensors) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight_map": None}, r"weight_map: must be an object of tensor names and file names"),
        ({"weight_map": {}}, r"weight_map: must be an object"),
        ({"weight_map": [["a", FIRST]]}, r"weight_map: must be an object"),
        (
            {"weight_map": WEIGHT_MAP | {"a": 1}},
            r"weight_map: 'a': 1 is not the name of a \.safetensors file in this",
        ),
        ({"weight_map": WEIGHT_MAP | {"a": [FIRST]}}, r"weight_map: 'a': .* is not the name of a \.safetensors file"),
        ({"weight_map": WEIGHT_MAP | {"a": "x.bin"}}, r"weight_map: 'a': 'x\.bin' is not the name of a \.safetensors"),
        ({"weight_map": WEIGHT_MAP | {"a": "../" + FIRST}}, r"weight_map: 'a': '\.\./model.* in this folder"),
        ({"weight_map": WEIGHT_MAP | {"a": "/" + FIRST}}, r"weight_map: 'a': '/model.* in this folder"),
        ({"weight_map": WEIGHT_MAP | {"a": "a\0.safetensors"}}, r"weight_map: 'a': .* in this folder"),
        ({"weight_map": WEIGHT_MAP | {"z": FIRST}}, r"weight_map: 'z': model-00001.* has no such tensor"),
        (
            {"weight_map": WEIGHT_MAP | {"a": SECOND}},
            r"weight_map: 'a': is in model-00001.*index puts it in 'model-00002",
        ),
        ({"weight_map": WEIGHT_MAP | {"a": "x" * 5000 + ".safetensors"}}, r"weight_map: there is no file 'x{80}…' in"),
        ({"weight_map": {"a": FIRST}}, r"weight_map: 'w': is in model-00001.*, but the index puts it in 'no file'"),
    ],
)
def test_an_index_that_disagrees_with_its_files_is_named(folder, changes, words):
    (folder / INDEX).write_text(json.dumps(WHOLE_INDEX | changes))
    with pytest.raises(BadFile, match=rf"sharded/model\.safetensors\.index\.json: {words}") as caught:
        open_checkpoint(folder)
    check_message(caught.value, [folder / INDEX])


@pytest.mark.parametrize(
    ("file", "raw", "words"),
    [
        (INDEX, b"[", r"index\.json: index: is not valid JSON"),
        (INDEX, b"[" * 100_000, r"index\.json: index: is nested too deeply"),
        ("config.json", b"", r"config\.json: config: is empty"),
        ("config.json", b"{", r"config\.json: config: is not valid JSON"),
        ("config.json", b"3", r"config\.json: config: must be a JSON object, is int"),
        ("config.json", b'{"model_type": "llama\xff"}', r"config\.json: config: .* can't decode byte 0xff"),
        ("config.json", b'{"model_type": "a", "model_type": "b"}', r"config: .*key 'model_type' is there twice"),
        ("config.json", b"{}", r"config\.json: model_type: must name the architecture, but is missing or no text"),
        ("config.json", b'{"model_type": ["llama"]}', r"config\.json: model_type: must name the architecture"),
        (FIRST, b"", r"00001-of-00002\.safetensors: file: is empty"),
    ],
)
def test_files_that_break_their_format_are_named(folder, file, raw, words):
    replace(folder / file, raw)
    with pytest.raises(BadFile, match=rf"/sharded/.*{words}"):
        open_checkpoint(folder)


def test_files_that_are_missing_are_named(folder):
    (folder / SECOND).unlink()
    with pytest.raises(BadFile, match=r"index\.json: weight_map: there is no file 'model-00002.*' in this folder"):
        open_checkpoint(folder)
    (folder / INDEX).unlink()
    save_file({}, folder / "other.safetensors")
    with pytest.raises(
        BadFile, match=r"index\.json: missing; without it the 2 \.safetensors files can't be put togeth"
    ):
        open_checkpoint(folder)
    (folder / FIRST).unlink()
    (folder / "other.safetensors").unlink()
    with pytest.raises(BadFile, match=r"model\.safetensors: missing, and there is no model\.safetensors\.index\.json"):
        open_checkpoint(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BadFile, match=r"sharded: config\.json: missing"):
        open_checkpoint(folder)
    (folder / "m.gguf").touch()
    with pytest.raises(
        BadFile, match=r"config\.json: missing; to load a GGUF file, give its own path, such as .*m\.gguf"
    ):
        open_checkpoint(folder)


def test_no_pickle_is_opened(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\3\4")
    with pytest.raises(
        BadFile, match=r"pickled weights can run code and are never opened: save the model as safetensors"
    ):
        open_checkpoint(tmp_path)
    with pytest.raises(BadFile, match=r"pytorch_model\.bin: magic: is a zip archive, probably a pickle"):
        open_checkpoint(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", r"file: is empty"),
        (b"GGU", r"magic: b'GGU' is not that of a GGUF file; give a \.gguf file, or a folder with config\.json"),
        (b"\x80\x02cos\nsystem", r"magic: is a pickle, which can run code"),
        (b"tjgg" + bytes(9), r"magic: is an old GGML file, from before GGUF; convert it"),
        (b"FUGG" + bytes(9), r"magic: b'FUGG' is not that of a GGUF file"),
    ],
)
def test_other_files_are_told_from_gguf(tmp_path, raw, words):
    with pytest.raises(BadFile, match=rf"model: {words}"):
        open_checkpoint(replace(tmp_path / "model", raw))


def test_paths_that_are_no_model(folder):
    with pytest.raises(BadInput, match=r"nowhere is neither a folder nor a file; give a folder with config\.json, or"):
        open_checkpoint(folder / "nowhere")
    with pytest.raises(BadInput, match=r"is weights alone; give its folder, which holds config\.json too"):
        open_checkpoint(folder / FIRST)
    with pytest.raises(BadInput, match=r"can't be opened|neither a folder nor a file"):
        open_checkpoint("a\0b")


def test_a_pipe_is_not_waited_for(folder):
    (folder / FIRST).unlink()
    os.mkfifo(folder / FIRST)
    with pytest.raises(BadFile, match=r"00001-of-00002\.safetensors: file: is not a regular file"):
        open_checkpoint(folder)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", ', "t0000001": 1'])
def test_the_longest_index_stays_within_limits(folder, ending):
    names = ", ".join(f'"t{i:07}": "{FIRST}"' for i in range(300_000))
    (folder / INDEX).write_text(f'{{"weight_map": {{{names}{ending}}}}}')
    check_limits(lambda: open_checkpoint(folder))


@pytest.mark.parametrize("cases", [range(1000), pytest.param(range(1000, 10_000), marks=pytest.mark.slow)], ids=len)
def test_mutated_indexes_and_configurations_are_refused_or_read_right(folder, cases):
    index, config = folder / INDEX, folder / "config.json"
    shards = [folder / file for file in SHARDS]

    def damage(rng):
        whole = rng.random() < 0.3
        replace(index, json.dumps(WHOLE_INDEX).encode() if whole else damaged_json(rng, WHOLE_INDEX))
        replace(config, damaged_json(rng, CONFIG) if whole else json.dumps(CONFIG).encode())
        return folder

    found = outcomes(cases, damage, [index, config, *shards], as_it_was_before)
    print(dict(found))
    assert found["BadFile"] > len(cases) / 2
    assert found["loaded"] > len(cases) / 10


def as_it_was_before(checkpoint) -> str:
    """No damage to an index or a configuration makes other tensors of the shards."""
    assert checkpoint.files == [checkpoint.path / file for file in SHARDS]
    assert checkpoint.architecture == json.loads((checkpoint.path / "config.json").read_bytes())["model_type"]
    originals = {name: array for tensors in SHARDS.values() for name, array in tensors.items()}
    assert set(checkpoint.tensors) == originals.keys() - {"w_scale_inv"}
    for tensor in readable(checkpoint, checkpoint.files):
        assert tensor.shape == originals[tensor.name].shape
        assert tensor.data.tobytes() == originals[tensor.name].tobytes()
    np.testing.assert_array_equal(checkpoint.tensors["w"].scales, SCALES)
    return "loaded"

import json
from types import SimpleNamespace

import pytest

from divebell.engine.recommended import recommended_sampling
from divebell.errors import BadFile


def folder(path, text: str):
    (path / "generation_config.json").write_text(text)
    return SimpleNamespace(kind="safetensors", path=path)


def test_what_the_publisher_recommends_is_the_default(tmp_path):
    fields = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "eos_token_id": 1, "top_k": None}
    assert recommended_sampling("x", folder(tmp_path, json.dumps(fields))) == {"temperature": 0.6, "top_p": 0.95}


def test_without_sampling_or_without_the_file_nothing_is_recommended(tmp_path):
    assert recommended_sampling("x", SimpleNamespace(kind="safetensors", path=tmp_path)) == {}
    assert recommended_sampling("x", SimpleNamespace(kind="gguf", path=tmp_path / "model.gguf")) == {}
    assert recommended_sampling("x", folder(tmp_path, '{"do_sample": false, "temperature": 0.6}')) == {}


def test_a_catalogue_entry_may_recommend(tmp_path):
    checkpoint = SimpleNamespace(kind="gguf", path=tmp_path / "model.gguf")
    assert recommended_sampling("SmolLM2-135M", checkpoint)["repetition_penalty"] == 1.1
    assert recommended_sampling(tmp_path / "model.gguf", checkpoint) == {}


@pytest.mark.parametrize(
    "text", ["", "[1]", "[" * 100_000, '{"do_sample": true, "temperature": -1}', '{"do_sample": true, "top_p": "x"}']
)
def test_a_broken_file_is_named(tmp_path, text):
    with pytest.raises(BadFile, match=r"generation_config\.json"):
        recommended_sampling("x", folder(tmp_path, text))

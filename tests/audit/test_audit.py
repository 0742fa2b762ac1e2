"""Whole audits: of small folders that transformers saved, spoiled in one way each, and of a repository of the hub."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from safetensors.numpy import load_file, save_file
from test_hub import COMMIT, publish, server  # noqa: F401 - the fixture of a hub

from divebell.audit import ai_act, bom, card
from divebell.audit.audit import audit
from divebell.audit.measured import Measured, Score, energy
from divebell.weights.catalogue import CATALOGUE, DEFAULT
from divebell.weights.pull import pull


@pytest.fixture
def folder(tiny, tmp_path):
    return shutil.copytree(tiny("deepseek_v3"), tmp_path / "DeepSeek-R1")


def state(found, check):
    return next(finding for finding in found.findings if finding.check == check).state


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_a_folder(folder):
    found = audit(str(folder))
    assert [licence.id for licence in found.licences] == ["MIT"]
    assert state(found, "tensors") == "passed"
    assert state(found, "code") == "passed"
    assert state(found, "hashes") == "not checked"
    assert not found.failed
    assert {file.name for file in found.files} == {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), "missing: model.norm.weight"),
        (lambda tensors: tensors.update(backdoor=np.ones(3, np.float32)), "not of the architecture: backdoor"),
        (lambda tensors: tensors.update({"model.norm.weight": np.ones(3, np.float32)}), "of another shape: model.norm"),
    ],
)
def test_tensors_that_are_not_the_architectures(folder, change, said):
    change_tensors(folder, change)
    found = audit(str(folder))
    assert [finding.check for finding in found.failed] == ["tensors"]
    assert said in found.failed[0].said


@pytest.mark.parametrize(
    ("name", "content", "check"),
    [
        ("pytorch_model.bin", b"\x80\x04pickle", "code"),
        ("hidden.dat", b"PK\x03\x04zip", "code"),
        ("modeling_custom.py", b"import os", "code"),
        ("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": "t.T"}}', "code asked for"),
    ],
)
def test_files_that_can_carry_code(folder, name, content, check):
    (folder / name).write_bytes(content)
    assert state(audit(str(folder)), check) == "warning"


def test_pickled_weights_alone_are_a_finding_and_no_crash(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    found = audit(str(tmp_path))
    assert [finding.check for finding in found.failed] == ["tensors"]
    assert "pickled weights can run code" in found.failed[0].said


def test_a_repository_against_the_hubs_list_and_without_it(folder, server, monkeypatch):  # noqa: F811
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    publish(server, "deepseek-ai/DeepSeek-R1", files)
    where = pull("deepseek-ai/DeepSeek-R1")
    found = audit("deepseek-ai/DeepSeek-R1")
    assert (state(found, "hashes"), state(found, "source"), found.revision) == ("passed", "passed", COMMIT)
    assert all(file.stated_by == "the hub's list" for file in found.files)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = audit("deepseek-ai/DeepSeek-R1")
    assert state(found, "hashes") == "note"
    assert "HF_HUB_OFFLINE" in next(finding for finding in found.findings if finding.check == "hashes").said
    blob = (where / "config.json").resolve()
    blob.write_bytes(blob.read_bytes() + b" ")
    assert [finding.check for finding in audit("deepseek-ai/DeepSeek-R1").failed] == ["hashes"]


def test_a_changed_file_under_a_catalogue_entrys_name(tmp_path):
    (tmp_path / CATALOGUE[DEFAULT].file).write_bytes(b"GGUF")
    found = audit(str(tmp_path / CATALOGUE[DEFAULT].file))
    assert [finding.check for finding in found.failed] == ["hashes", "tensors"]
    assert CATALOGUE[DEFAULT].sha256 in found.failed[0].said


def test_the_bill_of_materials_is_valid(folder):
    (folder / "README.md").write_text("---\nbase_model: DeepSeek-R1-Distill-Llama-8B\nlicense: mit\n---\n")
    (folder / "odd name|<b>.py").write_text("")
    found = audit(str(folder))
    text = json.dumps(bom.bom(found))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    model = json.loads(text)["metadata"]["component"]
    assert [one["license"].get("id") for one in model["licenses"]] == ["MIT", None]
    assert model["pedigree"]["ancestors"][0]["name"] == "Llama-3.1-8B"
    assert "odd name\\|&lt;b>.py" in card.card(found)


SCORE = Score("mmlu", "acc", 500, 0.272, 0.235, 0.313, "usual examples, text, weights stored", "2026-11-28")
RECEIPT = {"kind": "answer", "files": {"a": "1"}, "joules": 3.6e6, "grams_co2": 400.0, "method": "an estimate"}
RECEIPT |= {"prompt_tokens": 600, "cached_tokens": 100, "completion_tokens": 500}


def test_documents_tell_what_was_measured_of_these_files(folder):
    own = energy(
        [RECEIPT, RECEIPT | {"files": {"a": "2"}}, RECEIPT | {"files": {}}, {"kind": "idle", "joules": 5.0}], {"1"}
    )
    assert (own.answers, own.tokens, own.joules) == (1, 1000, 3.6e6)
    found = replace(audit(str(folder)), measured=Measured((SCORE,), own, "training tokens 14.8 T", "GPU hours 2.79 M"))
    answers = {(one.annex, one.point): one for one in ai_act.fields(found)}
    assert answers["XI", "2(c)"].basis == "stated, measured"
    assert "training tokens 14.8 T. tested here: mmlu, 500 questions, acc: 27.2 %" in answers["XII", "2(c)"].answer
    assert answers["XI", "2(d)"].answer == "GPU hours 2.79 M"
    assert "3,600,000.0 J for 1,000 tokens (an estimate)" in answers["XI", "2(e)"].answer
    assert "- mmlu, 500 questions, acc: 27.2 % (23.5 to 31.3)" in card.card(found)
    text = json.dumps(bom.bom(found))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    told = json.loads(text)["metadata"]["component"]["modelCard"]
    assert told["quantitativeAnalysis"]["performanceMetrics"][0]["value"] == "0.2720"
    [used] = told["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    assert used["activityEnergyCost"] == {"value": 1.0, "unit": "kWh"}


def test_the_ai_acts_fields(folder):
    found = audit(str(folder))
    answers = {(one.annex, one.point): one for one in ai_act.fields(found)}
    assert len(answers) == 22
    assert f"{found.description.parameters:,} parameters" in answers["XI", "1(d)"].answer
    assert answers["XI", "2(e)"].answer == ai_act.NOT_KNOWN
    assert all((one.answer == ai_act.NOT_KNOWN) == (one.basis is None) for one in answers.values())
    assert ai_act.page(found).count("\n| XI") == 22

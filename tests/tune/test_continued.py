"""Tuning that goes on from an adapter: it begins as peft computes it, and leaves one of the same layout."""

import json

import gguf_files
import numpy as np
import pytest
import torch
from adapters import logits as peft_logits
from adapters import save
from checkpoints import SHAPES, build
from safetensors.numpy import load_file, save_file
from talkers import preferences, talker

from divebell.errors import BadInput, Mismatch
from divebell.tune.continued import Continued
from divebell.tune.lora import Lora
from divebell.tune.model import Trainee
from divebell.tune.run import Run
from divebell.tune.settings import Settings
from divebell.weights.adapter import CONFIG, WEIGHTS, read_adapter
from divebell.weights.checkpoint import open_checkpoint

IDS = np.random.default_rng(1).integers(0, 320, 40, np.int32)
TOLERANCE = 2e-4  # of the logits' deviation


def continued(base, folder) -> tuple[Continued, Trainee, dict]:
    method, trainee = Continued(read_adapter(folder), "f32"), Trainee(open_checkpoint(base), "f32")
    method.check(trainee.checkpoint)
    return method, trainee, method.attach(trainee)


def logits(trainee: Trainee) -> np.ndarray:
    with torch.no_grad():
        return trainee.logits([IDS]).numpy()


def differs(found, expected) -> float:
    return float(np.abs(found - expected).max() / expected.std())


@pytest.mark.parametrize("name", SHAPES)
def test_it_begins_as_pefts_adapter_of_every_matrix(name, tiny, tmp_path):
    expected = peft_logits(save(name, tmp_path), IDS)
    _, trainee, trained = continued(tiny(name), tmp_path)
    assert differs(logits(trainee), expected) <= TOLERANCE
    assert sum(p.numel() for p in trained.values()) == read_adapter(tmp_path).count


@pytest.mark.parametrize("name", ["llama", "llama-tied-llama3", "deepseek_v2-lite", "deepseek_v3"])
def test_it_is_saved_as_it_was_unless_trained(name, tiny, tmp_path):
    """From a checkpoint, and from a GGUF, which has rows in another order and up-projections in halves."""
    expected = peft_logits(save(name, tmp_path / "begun", use_rslora=True), IDS)
    for base in (tiny(name), gguf_files.write(build(name), tmp_path / "m.gguf")):
        method, trainee, _ = continued(base, tmp_path / "begun")
        assert differs(logits(trainee), expected) <= TOLERANCE
        out = method.save(trainee, tmp_path)
        before, after = load_file(tmp_path / "begun" / WEIGHTS), load_file(out / WEIGHTS)
        assert before.keys() == after.keys()
        assert all(np.array_equal(after[key], values) for key, values in before.items())
        fields = [json.loads((each / CONFIG).read_text()) for each in (tmp_path / "begun", out)]
        assert fields[1] == fields[0] | {"base_model_name_or_path": str(base)}


OF_EXPERTS = {"gate_up": ["mlp.experts.gate_up_proj"], "down": ["mlp.experts.down_proj"], "router": ["mlp.gate.weight"]}


@pytest.mark.parametrize("parameters", OF_EXPERTS.values(), ids=OF_EXPERTS)
def test_one_stack_of_experts_alone_and_patterns_of_ranks(parameters, tiny, tmp_path):
    """peft calls a layer's one stack what it calls the outer one of two."""
    own = {"rank_pattern": {"layers.1.self_attn.o_proj": 2}, "alpha_pattern": {parameters[0]: 9}}
    expected = peft_logits(
        save("deepseek_v3", tmp_path, target_modules=["o_proj"], target_parameters=parameters, **own), IDS
    )
    method, trainee, trained = continued(tiny("deepseek_v3"), tmp_path)
    assert differs(logits(trainee), expected) <= TOLERANCE
    assert {f"base_model.model.{key}" for key in trained} == load_file(tmp_path / WEIGHTS).keys()
    assert load_file(method.save(trainee, tmp_path) / WEIGHTS).keys() == load_file(tmp_path / WEIGHTS).keys()


def test_experts_that_were_left_alone_stay_so(tiny, tmp_path):
    begun = Lora(rank=4, alpha=8, kinds=("experts",), experts={"layers.1.": [3, 5], "layers.2.": [0]})
    trainee = Trainee(open_checkpoint(tiny("deepseek_v3")), "f32")
    with torch.no_grad():
        [p.normal_(0, 0.05) for p in begun.attach(trainee).values()]
    _, again, trained = continued(tiny("deepseek_v3"), begun.save(trainee, tmp_path))
    assert np.array_equal(logits(again), logits(trainee))
    again.logits([IDS]).square().sum().backward()
    assert all(not p.grad[p == 0].any() for p in trained.values())


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_what_it_is_compared_with_is_what_it_began_with(name, tiny, tmp_path):
    save(name, tmp_path)
    _, trainee, trained = continued(tiny(name), tmp_path)
    begun = logits(trainee)
    with torch.no_grad():
        [p.add_(0.05) for p in trained.values()]
    assert differs(logits(trainee), begun) > 0.1
    with trainee.as_it_began():
        assert np.array_equal(logits(trainee), begun)


def test_preferences_go_on_from_what_was_imitated(tmp_path):
    model, pairs = talker(tmp_path / "model"), preferences(tmp_path / "pairs.jsonl")
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    imitated = tmp_path / "rows.jsonl"
    imitated.write_text("".join(json.dumps({"prompt": r["prompt"], "completion": r["chosen"]}) + "\n" for r in rows))
    first = Run("qlora", str(model), imitated, Settings(steps=4, batch=8, context=64, pack=256, rank=4, rate=1e-2))
    list(first.train(tmp_path / "first"))
    settings = Settings(adapter=tmp_path / "first" / "adapter", steps=4, batch=8, context=64, pack=256, rate=1e-2)
    run = Run("dpo", str(model), pairs, settings)
    assert run.plan.trained == read_adapter(settings.adapter).count
    assert run.plan.memory["adapter"] == 8 * run.plan.trained
    figures = list(run.train(tmp_path / "second"))
    assert figures[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert figures[-1]["loss"] < 0.6
    assert read_adapter(tmp_path / "second" / "adapter").rank("model.layers.0.self_attn.q_proj") == 4


def test_another_adapter_is_not_what_a_run_goes_on_with(tmp_path):
    model, rows = talker(tmp_path / "model"), preferences(tmp_path / "pairs.jsonl")
    own = Settings(steps=2, batch=8, context=64, pack=256, rank=4)
    list(Run("dpo", str(model), rows, own).train(tmp_path / "begun"))
    after = Settings(adapter=tmp_path / "begun" / "adapter", steps=2, batch=8, context=64, pack=256)
    next(Run("dpo", str(model), rows, after, save_seconds=0).train(tmp_path / "out"))
    tensors = load_file(after.adapter / WEIGHTS)
    save_file({key: values + 1 for key, values in tensors.items()}, after.adapter / WEIGHTS)
    with pytest.raises(BadInput, match="adapter_sha256"):
        list(Run("dpo", str(model), rows, after).train(tmp_path / "out"))


@pytest.mark.parametrize("given", [{"rank": 8}, {"alpha": 4.0}, {"targets": ("attention",)}])
def test_what_the_adapter_has_is_not_asked_for(given, tmp_path):
    (name,) = given
    with pytest.raises(BadInput, match=f"{name} is given beside an adapter to go on from"):
        Settings(adapter=tmp_path, **given).check("qlora")


def test_all_weights_do_not_go_on_from_an_adapter(tmp_path):
    with pytest.raises(BadInput, match="adapter is given, and full has no use for it; it is for lora"):
        Settings(adapter=tmp_path).check("full")


def test_an_adapter_for_another_model_is_refused(tiny, tmp_path):
    save("llama", tmp_path)
    with pytest.raises(Mismatch, match="adapter for another model"):
        Continued(read_adapter(tmp_path), "f32").check(open_checkpoint(tiny("deepseek_v3")))


def test_experts_apart_are_refused(tiny, tmp_path):
    save("deepseek_v3", tmp_path, target_modules=["o_proj"])
    config = open_checkpoint(tiny("deepseek_v3")).config
    down = "base_model.model.model.layers.1.mlp.experts.3.down_proj"
    a, b = (np.ones(shape, np.float32) for shape in ((4, config["moe_intermediate_size"]), (config["hidden_size"], 4)))
    tensors = load_file(tmp_path / WEIGHTS) | {f"{down}.lora_A.weight": a, f"{down}.lora_B.weight": b}
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(BadInput, match=r"experts\.3\.down_proj apart from its layer's other experts"):
        continued(tiny("deepseek_v3"), tmp_path)

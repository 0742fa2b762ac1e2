"""Expert-specialised tuning: the experts that rows use, and that no others are trained."""

import json
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from checkpoints import build
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from talkers import rows, talker
from test_lora import peft_model, texts, tuned

import divebell
from divebell.cli import main
from divebell.errors import BadInput, OverBudget
from divebell.models import merge
from divebell.tune.experts import experts_of, fewest
from divebell.tune.lora import Lora
from divebell.tune.model import Trainee
from divebell.tune.run import Run
from divebell.tune.samples import Sample
from divebell.tune.settings import Settings
from divebell.weights.adapter import read_adapter
from divebell.weights.checkpoint import open_checkpoint

QUICK = {"steps": 3, "batch": 4, "context": 64, "pack": 64, "rank": 4, "rate": 1e-2}
ESFT = Settings(**QUICK, targets=("task_experts",))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=7).filter(any), st.floats(0.01, 1))
def test_no_fewer_experts_have_the_share(counts, share):
    chosen = fewest(torch.tensor(counts), share)
    reached = [
        len(some)
        for size in range(1, len(counts) + 1)
        for some in combinations(counts, size)
        if sum(some) >= (share - 1e-9) * sum(counts)
    ]
    assert sum(counts[i] for i in chosen) >= (share - 1e-9) * sum(counts)
    assert len(chosen) == min(reached)
    assert chosen == sorted(set(chosen))


def count(each: torch.Tensor, gate: torch.nn.Module, given: tuple, out: tuple) -> None:
    each += out[2].flatten().bincount(minlength=len(each))


@pytest.mark.parametrize("name", ["deepseek_v2-groups", "deepseek_v3"])
def test_they_are_those_that_transformers_chooses_most(name, tiny):
    samples = [Sample(ids, np.ones(len(ids), bool)) for ids in texts(12)]
    found = experts_of(Trainee(open_checkpoint(tiny(name)), "f32"), samples, 0.4, pack=64)
    model, counts = build(name), {}
    for index, layer in enumerate(model.model.layers):
        if hasattr(layer.mlp, "gate"):
            each = counts[f"layers.{index}."] = torch.zeros(model.config.n_routed_experts, dtype=torch.long)
            layer.mlp.gate.register_forward_hook(partial(count, each))
    with torch.no_grad():
        for sample in samples:
            model(torch.from_numpy(sample.ids)[None].long())
    assert found == {name: fewest(each, 0.4) for name, each in counts.items()}
    assert all(1 <= len(chosen) < model.config.n_routed_experts / 2 for chosen in found.values())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the model that it tuned."""
    root = tmp_path_factory.mktemp("experts")
    model = talker(root / "model", "deepseek_v3")
    run = Run("lora", str(model), rows(root / "rows.jsonl"), ESFT)
    list(run.train(root / "out"))
    return run, model


def test_only_they_are_trained(trained, tmp_path):
    run, model = trained
    chosen = json.loads((run.result.parent / "experts.json").read_text())
    assert chosen == run.method.experts
    assert run.plan.trained < Run("lora", str(model), run._files, Settings(**QUICK, targets=("experts",))).plan.trained
    planned = merge.plan(open_checkpoint(model), read_adapter(run.result))
    planned.write(tmp_path / "merged")
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "merged"))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {
        f"model.{layer}mlp.experts.{e}.{part}_proj.weight"
        for layer, experts in chosen.items()
        for e in experts
        for part in ("gate", "up", "down")
    }


@pytest.mark.parametrize("name", ["deepseek_v2-lite", "deepseek_v3"])
def test_peft_and_the_engine_compute_what_was_trained(name, tiny, tmp_path):
    """The experts that were left alone are laid out as zeros."""
    method = Lora(rank=4, alpha=8, kinds=("experts",), experts={"layers.1.": [3, 5, 11], "layers.2.": [0]})
    trainee, _ = tuned(tiny(name), method, 3)
    ids, out = texts(1, seed=9)[0], method.save(trainee, tmp_path)
    with torch.no_grad():
        expected = trainee.logits([ids])
        theirs = peft_model(name, out).eval()(torch.from_numpy(ids)[None].long()).logits[0]
    assert (theirs - expected).abs().max() <= 2e-4 * expected.std()
    with divebell.load(tiny(name), "f32", context=256, adapters={"own": out}) as llm:
        assert np.abs(llm.logits(ids, adapter="own") - expected.numpy()).max() <= 2e-4 * expected.std()
        assert np.abs(llm.logits(ids) - expected.numpy()).max() > 1e-3 * expected.std()


def test_a_run_goes_on_with_the_experts_that_it_began_with(trained, tmp_path):
    run, model = trained
    again, out = Run("lora", str(model), run._files, ESFT), tmp_path / "out"
    steps = again.train(out)
    next(steps)
    steps.close()
    path = out / "experts.json"
    other = {layer: [0] for layer in json.loads(path.read_text())}
    path.write_text(json.dumps(other))
    resumed = Run("lora", str(model), run._files, ESFT)
    assert resumed.method.experts != other
    list(resumed.train(out))
    assert resumed.method.experts == other


def test_a_plan_names_them(trained, tmp_path, capsys):
    run, model = trained
    arguments = ["tune", "qlora", str(model), str(run._files[0]), "--out", str(tmp_path / "out"), "--dry-run"]
    arguments += ["--targets", "task_experts", "--expert-share", "0.5"]
    assert main([*arguments, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["task_experts"].keys() == {"layers.1.", "layers.2."}
    assert main(arguments) == 0
    first = ", ".join(map(str, planned["task_experts"]["layers.1."]))
    assert f"layers.1: {first}; layers.2: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        ("lora", {"targets": ("experts", "task_experts")}, "give one of them"),
        ("dpo", {"targets": ("task_experts",)}, "which are for lora and qlora"),
        ("lora", {"expert_share": 0.0}, "expert_share is 0.0; it must be above 0"),
        ("full", {"expert_share": 0.5}, "expert_share is given, and full has no use for it"),
    ],
)
def test_what_can_not_be_is_refused(method, settings, says):
    with pytest.raises(BadInput, match=says):
        Settings(**settings).check(method)


def test_a_dense_model_has_none_and_too_little_memory_is_told_first(trained, tmp_path, monkeypatch):
    _, model = trained
    data = rows(tmp_path / "rows.jsonl")
    with pytest.raises(BadInput, match="the model has nothing of task_experts"):
        Run("lora", str(talker(tmp_path / "dense", "llama")), data, ESFT)
    monkeypatch.setattr("divebell.tune.run.Trainee", None)
    with pytest.raises(OverBudget, match="may be used"):
        Run("lora", str(model), data, ESFT, ram="1MiB")

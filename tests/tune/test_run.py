"""Whole runs: what they leave, what they refuse, and that a killed one continues on the same curve."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import checkpoints
import numpy as np
import pytest
import torch
from killed import STEPS
from running import logits as native_logits
from safetensors import SafetensorError
from safetensors.torch import load_file
from talkers import preferences, questions, rows, talker

from divebell import models
from divebell.errors import BadFile, BadInput, OverBudget
from divebell.ops import native
from divebell.tune.run import Run
from divebell.tune.settings import Settings
from divebell.weights.checkpoint import open_checkpoint

ROWS = {"lora": rows, "full": rows, "dpo": preferences, "grpo": questions}
QUICK = Settings(steps=4, batch=4, context=64, pack=64, rank=4, rate=1e-2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(talker(tmp_path_factory.mktemp("model"), "deepseek_v3"))


@pytest.fixture
def data(tmp_path):
    return rows(tmp_path / "rows.jsonl")


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_a_run_learns_and_leaves_its_folder(method, model, data, tmp_path):
    run, out = Run(method, model, data, QUICK), tmp_path / "out"
    figures = list(run.train(out))
    assert figures[-1]["held_out"] < figures[0]["held_out"]
    assert losses(out) == [row["loss"] for row in figures]
    assert json.loads((out / "config.json").read_text())["method"] == method
    assert (out / "loss.png").stat().st_size > 1000
    with pytest.raises(BadInput, match="a run that is done"):
        list(Run(method, model, data, QUICK).train(out))
    with pytest.raises(BadInput, match="seed was 0 and is 1"):
        list(
            Run(method, model, data, Settings(steps=4, batch=4, context=64, pack=64, rank=4, rate=1e-2, seed=1)).train(
                out
            )
        )


def test_a_run_that_died_while_it_wrote_its_result_writes_it_again(model, data, tmp_path):
    run, out = Run("full", model, data, QUICK), tmp_path / "out"
    figures = list(run.train(out))
    run.result.replace(out / "model.part")
    (out / "model.part" / "config.json").unlink()
    again = Run("full", model, data, QUICK)
    assert list(again.train(out)) == []
    assert open_checkpoint(again.result).tensors
    assert losses(out) == [row["loss"] for row in figures]


@pytest.mark.parametrize("name", ["llama-tied-llama3", "qwen2", "deepseek_v2-lite", "deepseek_v3"])
def test_what_was_trained_is_what_is_served(name, data, tmp_path):
    """All weights tuned in torch, written, and run by the native kernels in float32."""
    folder = talker(tmp_path / "model", name)
    run = Run("full", str(folder), data, QUICK)
    list(run.train(tmp_path / "out"))
    ids = np.arange(40, dtype=np.int32) * 7 % 500
    served = native_logits(models.load(open_checkpoint(run.result), native, "f32"), ids)
    for weight in run.trainee.weights.values():  # the file's are rounded to bfloat16
        for each in weight if isinstance(weight, list) else [weight]:
            each.dense.data = each.dense.bfloat16().float() if len(each.dense) != 16 else each.dense
    with torch.no_grad():
        trained = run.trainee.logits([ids]).numpy()
    assert np.abs(served - trained).max() <= 2e-4 * trained.std()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kills"), [("lora", 4), ("full", 4), ("full of qwen2", 2), ("dpo", 2), ("grpo", 2)])
def test_a_killed_run_continues_on_the_same_curve(method, kills, model, tmp_path):
    method, *taught = method.split(" of ")
    taught = [str(talker(tmp_path / own, own)) for own in taught]
    data = ROWS[method](tmp_path / "own.jsonl")

    def started(out: Path, moment: int) -> int:
        script = Path(__file__).with_name("killed.py")
        return subprocess.run([sys.executable, script, model, data, out, method, str(moment), *taught]).returncode

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert started(whole, -1) == 0
    for moment in np.random.default_rng(1).integers(3, 14, kills):
        assert started(broken, int(moment)) in (-9, 0)
    if len(losses(broken)) < STEPS or not (broken / "loss.png").exists():
        assert started(broken, -1) == 0
    assert losses(broken) == losses(whole)


@pytest.mark.parametrize("method", ["lora", "full", "dpo", "grpo"])
def test_tokens_that_the_model_has_not_are_refused(method, tmp_path):
    """As of a tokenizer that was given more of them."""
    model = talker(tmp_path / "model")
    checkpoints.save("llama", model, vocab_size=40)
    data = ROWS[method](tmp_path / "rows.jsonl")
    with pytest.raises(BadInput, match=r"rows have token \d+ \('.+'\), and the model has 0 to 39"):
        Run(method, str(model), data, replace(QUICK, answer_tokens=8) if method == "grpo" else QUICK)


def test_what_cannot_be_done_is_refused_before_it_begins(model, data, tmp_path):
    with pytest.raises(BadInput, match="method is 'magic'"):
        Run("magic", model, data, QUICK)
    with pytest.raises(OverBudget, match="may be used"):
        Run("full", model, data, QUICK, ram="1MiB")
    with pytest.raises(BadInput, match="rank is 0"):
        Run("lora", model, data, Settings(rank=0))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "diary.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds no run"):
        list(Run("lora", model, data, QUICK).train(tmp_path / "other"))


def test_a_run_that_diverges_ends_with_its_last_state(model, data, tmp_path):
    run, out = Run("lora", model, data, replace(QUICK, rate=1e30), save_seconds=0), tmp_path / "out"
    with pytest.raises(BadInput, match=r"step \d: the gradients' norm is (nan|inf).*the rate is 1e\+30 there"):
        list(run.train(out))
    assert all(np.isfinite(losses(out)))
    assert not run.done(out)
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(out / "state.safetensors").values())


def test_a_run_goes_on_with_its_own_rows_and_weights_alone(model, data, tmp_path):
    own, out, before = shutil.copytree(model, tmp_path / "model"), tmp_path / "out", data.read_text()
    steps = Run("lora", str(own), data, QUICK, save_seconds=0).train(out)
    next(steps), next(steps)
    steps.close()
    data.write_text(before.replace("a", "b"))
    with pytest.raises(BadInput, match=r"data_sha256 was .* and is"):
        next(Run("lora", str(own), data, QUICK).train(out))
    data.write_text(before)
    assert next(Run("lora", str(own), data, QUICK).train(out))["step"] == 2
    weights = next(own.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(BadInput, match=r"model_files was .* and is"):
        next(Run("lora", str(own), data, QUICK).train(out))


def test_one_process_at_a_time(model, data, tmp_path):
    first = Run("lora", model, data, QUICK).train(tmp_path / "out")
    next(first)
    with pytest.raises(BadInput, match="another process is at the run in"):
        next(Run("lora", model, data, QUICK).train(tmp_path / "out"))
    first.close()
    assert next(Run("lora", model, data, QUICK).train(tmp_path / "out"))["step"] == 0


def test_a_full_disk_is_told_before_and_while_it_trains(model, data, tmp_path, monkeypatch):
    run = Run("lora", model, data, QUICK)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
        with pytest.raises(BadInput, match=r"may take [\d,]+ bytes and 100 are free there"):
            next(run.train(tmp_path / "out"))

    def full(*arguments):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("divebell.tune.state.save_file", full)
    with pytest.raises(BadInput, match="can't be written: No space left on device; what was saved before is kept"):
        list(run.train(tmp_path / "out"))


def test_a_damaged_state_is_named(model, data, tmp_path):
    out = tmp_path / "out"
    steps = Run("lora", model, data, QUICK, save_seconds=0).train(out)
    next(steps), next(steps)
    steps.close()
    whole = (out / "state.safetensors").read_bytes()
    (out / "state.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match=r"state.safetensors: state: is damaged .* delete it, and the run begins anew"):
        next(Run("lora", model, data, QUICK).train(out))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"epochs": math.inf}, "epochs is inf"),
        ({"rate": math.nan}, "rate is nan"),
        ({"rank": 4097}, "rank is 4097; it must be above 0 and at most 4,096"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
    ],
)
def test_numbers_that_can_not_be_are_refused_at_once(changed, told, model, data):
    with pytest.raises(BadInput, match=told):
        Run("lora", model, data, replace(QUICK, **changed))


def test_beta_is_a_number(model, tmp_path):
    with pytest.raises(BadInput, match="beta is nan"):
        Run("dpo", model, preferences(tmp_path / "rows.jsonl"), replace(QUICK, beta=math.nan))

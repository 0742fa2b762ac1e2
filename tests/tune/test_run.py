"""Whole runs: what they leave, what they refuse, and that a killed one continues on the same curve."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from killed import STEPS
from running import logits as native_logits
from talkers import preferences, questions, rows, talker

from divebell import models
from divebell.errors import BadInput, OverBudget
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

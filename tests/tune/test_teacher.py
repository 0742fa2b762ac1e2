"""Distillation: the divergence from a teacher against its formula in float64, that it vanishes, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from blanks import config
from checkpoints import save
from small_tokenizers import byte_level_library
from talkers import preferences, rows, talker

from divebell.errors import BadInput, OverBudget
from divebell.text.tokenizer import load_tokenizer
from divebell.tune import loss as loss_module
from divebell.tune.model import Trainee
from divebell.tune.run import Run
from divebell.tune.samples import Sample
from divebell.tune.settings import Settings
from divebell.tune.teacher import Teacher, divergence
from divebell.weights.checkpoint import open_checkpoint

QUICK = Settings(steps=4, batch=4, context=64, pack=64, rank=4, rate=3e-3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A dense teacher, and students of two kinds."""
    root = tmp_path_factory.mktemp("models")
    for folder, name in (("student", "llama"), ("teacher", "qwen2"), ("latent", "deepseek_v3")):
        talker(root / folder, name)
    return root


@pytest.fixture
def data(tmp_path):
    return rows(tmp_path / "rows.jsonl")


def pack() -> list[Sample]:
    random = np.random.default_rng(2)
    return [Sample(random.integers(0, 300, n, np.int32), random.random(n) < 0.7) for n in (30, 9, 17)]


def formula(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Of each row, sum p (ln p - ln q)."""
    p, q = teacher.softmax(-1), student.softmax(-1)
    return (p * (p.log() - q.log())).sum(-1)


def learned_rows(logits: torch.Tensor, samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that tell a trained token, one by one, and those tokens."""
    kept, ids, begin = [], [], 0
    for sample in samples:
        for place in range(1, len(sample)):
            if sample.trained[place]:
                kept.append(begin + place - 1)
                ids.append(int(sample.ids[place]))
        begin += len(sample)
    return logits[kept], torch.tensor(ids)


@pytest.mark.parametrize("labels", [0.0, 0.3])
def test_loss_and_gradient_are_the_formula_in_float64(labels, root, monkeypatch):
    monkeypatch.setattr(loss_module, "ROWS", 7)
    checkpoint, samples = open_checkpoint(root / "student"), pack()
    teacher = Teacher(str(root / "teacher"), load_tokenizer(checkpoint), labels)
    trainee, sequences = Trainee(checkpoint, "f32"), [sample.ids for sample in samples]
    head = trainee.weights["head"].thaw()
    hidden = trainee.hidden(sequences).detach().requires_grad_()
    sums = teacher(trainee, hidden, samples)
    sums["loss"].backward()
    with torch.no_grad():
        taught = Trainee(open_checkpoint(root / "teacher"), "f32").logits(sequences).double()
        taught, ids = learned_rows(taught, samples)
    rows, weight = (x.detach().double().requires_grad_() for x in (hidden, head))
    student, _ = learned_rows(rows @ weight.T, samples)
    kl, loss = formula(taught, student).sum(), -student.log_softmax(-1)[range(len(ids)), ids].sum()
    ((1 - labels) * kl + labels * loss).backward()
    assert sums["kl"].item() == pytest.approx(kl.item(), rel=1e-5)
    assert sums["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    for own, right in ((hidden, rows), (head, weight)):
        assert (own.grad - right.grad).norm() <= 1e-5 * right.grad.norm()


def test_logits_are_never_made_of_more_rows_than_a_tile(root, monkeypatch):
    monkeypatch.setattr(loss_module, "ROWS", 5)
    checkpoint, made = open_checkpoint(root / "student"), []
    teacher, trainee = Teacher(str(root / "teacher"), load_tokenizer(checkpoint), 0.0), Trainee(checkpoint, "f32")
    for model in (teacher._model.model, trainee.model):
        whole = model.logits
        monkeypatch.setattr(model, "logits", lambda x, whole=whole: made.append(len(x)) or whole(x))
    samples = pack()
    teacher(trainee, trainee.hidden([sample.ids for sample in samples]), samples)
    assert max(made) == 5
    assert sum(made) == 2 * sum(sample.learned for sample in samples)


def test_a_vocabulary_that_is_padded_otherwise_is_compared_where_both_have_tokens():
    random = torch.Generator().manual_seed(1)
    teacher, student = torch.randn(4, 20, generator=random), torch.randn(4, 24, generator=random)
    right = formula(teacher.double(), student[:, :20].double())
    torch.testing.assert_close(divergence(teacher, student).double(), right, rtol=1e-5, atol=1e-6)
    right = formula(student[:, :20].double(), teacher.double())
    torch.testing.assert_close(divergence(student, teacher).double(), right, rtol=1e-5, atol=1e-6)
    assert divergence(teacher, teacher).abs().max() <= 1e-6


@pytest.mark.slow
def test_a_student_of_the_same_shape_becomes_its_teacher(root, tmp_path):
    """From other random weights, on the very rows that it is asked of."""
    teacher, student = root / "student", tmp_path / "student"
    tokens = load_tokenizer(open_checkpoint(teacher)).vocabulary_size
    save("llama", student, seed=1, vocab_size=tokens)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(teacher / name, student / name)
    data = rows(tmp_path / "few.jsonl", 5)
    settings = replace(QUICK, steps=80, pack=128, batch=5, rate=2e-2, held_out=data, teacher=str(teacher))
    figures = list(Run("full", str(student), data, settings).train(tmp_path / "out"))
    assert figures[0]["held_out"] > 0.5
    assert figures[-1]["held_out"] < 0.05 * figures[0]["held_out"]


@pytest.mark.parametrize(("method", "student"), [("lora", "latent"), ("qlora", "student"), ("full", "latent")])
def test_both_figures_are_recorded(method, student, root, data, tmp_path):
    settings = replace(QUICK, steps=8, teacher=str(root / "teacher"))
    figures = list(Run(method, str(root / student), data, settings).train(tmp_path / "out"))
    assert figures[-1]["held_out"] < figures[0]["held_out"]
    assert {"kl", "loss", "held_out", "held_out_loss"} <= figures[-1].keys()
    assert figures[-1]["held_out_loss"] != figures[-1]["held_out"]
    assert (tmp_path / "out" / "kl.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "config.json").read_text())["teacher"] == str(root / "teacher")


def test_a_new_model_has_its_teachers_tokens(root, data, tmp_path):
    texts = tmp_path / "book.txt"
    texts.write_text("".join(f"after {i} comes {i + 1}. " for i in range(120)))
    settings = replace(QUICK, teacher=str(root / "teacher"))
    run = Run("new", config(tmp_path, vocab_size=800), texts, settings)
    figures = list(run.train(tmp_path / "out"))
    assert figures[-1]["held_out"] < figures[0]["held_out"]
    assert figures[0]["mtp"] > 0
    borrowed, lent = (load_tokenizer(open_checkpoint(path)) for path in (run.result, root / "teacher"))
    assert borrowed.encode("after 3 comes") == lent.encode("after 3 comes")


def test_memory_and_arithmetic_count_the_teacher(root, data):
    alone = Run("lora", str(root / "student"), data, QUICK).plan
    taught = Run("lora", str(root / "student"), data, replace(QUICK, teacher=str(root / "teacher"))).plan
    assert taught.memory["teacher"] > (root / "teacher" / "model.safetensors").stat().st_size * 0.9
    assert taught.bytes == alone.bytes + taught.memory["teacher"]
    assert taught.multiply_adds > alone.multiply_adds
    with pytest.raises(OverBudget, match="teacher"):
        Run("lora", str(root / "student"), data, replace(QUICK, teacher=str(root / "teacher")), ram=str(alone.bytes))


def test_what_cannot_teach_is_refused_before_it_begins(root, data, tmp_path):
    other = save("llama", tmp_path / "other", vocab_size=700)
    library = byte_level_library(special=("<|end|>",))
    library.save(str(other / "tokenizer.json"))
    student = str(root / "student")
    with pytest.raises(BadInput, match=r"whose token 0 is '<.end.>', and this model's is '<.im_start.>'"):
        Run("lora", student, data, replace(QUICK, teacher=str(other)))
    with pytest.raises(BadInput, match="none"):
        Run("lora", student, data, replace(QUICK, teacher=str(tmp_path / "none")))
    pairs = preferences(tmp_path / "pairs.jsonl")
    with pytest.raises(BadInput, match="teacher is given, and dpo has no use for it"):
        Run("dpo", student, pairs, replace(QUICK, teacher=student))
    with pytest.raises(BadInput, match="there is no teacher"):
        Run("lora", student, data, replace(QUICK, labels=0.5))
    with pytest.raises(BadInput, match="labels is 1"):
        Run("lora", student, data, replace(QUICK, labels=1.0, teacher=student))

"""Whole models through `divebell.load`: against transformers, alone and together, with one thread and with several."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import build, save

import divebell
from divebell.engine.budget import Budget
from divebell.engine.cache import PAGE
from divebell.engine.store import BACKLOG
from divebell.engine.workspace import TEXT
from divebell.errors import BadInput, Mismatch, OverBudget
from divebell.ops import native

NAMES = ["llama-tied-llama3", "mistral-window", "qwen2", "deepseek_v2-groups", "deepseek_v3"]
PROMPTS = [[5, 6, 7], [9] * 40, list(range(300)), [250]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: save(name, root / name) for name in NAMES}


@pytest.fixture
def threads():
    before = native.threads()
    yield
    native.set_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_greedy_answers_are_those_of_transformers(folders, name):
    model = build(name)
    with divebell.load(folders[name], weights="f32") as llm:
        answers = llm.batch(PROMPTS, max_tokens=64, ignore_eos=True)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        with torch.no_grad():
            theirs = model.generate(torch.tensor([prompt]), max_new_tokens=64, do_sample=False, eos_token_id=None)
        assert list(answer.token_ids) == theirs[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_a_prompt_longer_than_one_step_are_those_of_transformers(folders, name):
    ids = np.random.default_rng(3).integers(0, 320, 700)
    with torch.no_grad():
        theirs = build(name)(torch.tensor(ids)[None]).logits[0].numpy()
    with divebell.load(folders[name], weights="f32") as llm:
        ours = llm.logits(ids)
    assert np.median(np.abs(ours - theirs)) <= 2e-5 * theirs.std()  # the rows before a tied routing choice decide


@pytest.mark.parametrize("weights", ["stored", "f32", "bf16", "q8", "q4"])
def test_the_same_seed_gives_the_same_text_alone_in_a_batch_and_on_any_threads(folders, threads, weights):
    """On an empty cache each time: rounding makes more of a reused prefix than draws at temperature 1 forgive."""
    options = {"max_tokens": 24, "temperature": 1.0, "seed": 7, "ignore_eos": True}
    seen = []
    for count in (1, 2, 3):
        with divebell.load(folders["deepseek_v3"], weights=weights, context=512, threads=count) as llm:
            seen.append([c.token_ids for c in llm.batch(PROMPTS, **options)])
        with divebell.load(folders["deepseek_v3"], weights=weights, context=512, threads=count) as llm:
            seen.append([llm.generate(prompt, **options).token_ids for prompt in PROMPTS])
    assert all(answers == seen[0] for answers in seen)


def test_what_is_loaded_is_told(folders):
    with divebell.load(folders["deepseek_v3"], context=100) as llm:
        assert llm.info.architecture == "deepseek_v3"
        assert 0 < llm.info.active_parameters < llm.info.parameters
        assert llm.info.bytes == sum(tensor.numel() * 4 for tensor in build("deepseek_v3").state_dict().values())
        assert [file.name for file in llm.info.files] == ["model.safetensors"]
        assert llm.context == 100


@pytest.mark.parametrize("weights", ["stored", "f32"])
def test_the_budget_counts_a_page_as_the_cache_makes_it(folders, monkeypatch, tmp_path, weights):
    made = []
    monkeypatch.setattr("divebell.engine.load.Budget", lambda *sizes: made.append(sizes) or Budget(*sizes))
    for folder in (None, tmp_path / "kv"):
        with divebell.load(folders["deepseek_v3"], weights=weights, context=100, kv_dir=folder) as llm:
            layers = llm._engine._core.cache.layers
            per_page = sum(pages[0].nbytes for layer in layers for pages in layer.values())
    pages, parts = [sizes[2] for sizes in made], [sizes[3] for sizes in made]
    assert pages == [per_page + PAGE * TEXT] * 2
    assert [size.get("pages on their way to disk", 0) for size in parts] == [0, (BACKLOG + 2) * per_page]


@pytest.mark.parametrize(("weights", "brought"), [("stored", 1), ("f32", 1), ("q8", 0)])
def test_a_file_is_copied_into_large_pages_only_where_it_is_computed_from(folders, monkeypatch, weights, brought):
    """The checkpoint is float32."""
    seen = []
    monkeypatch.setattr("divebell.engine.load.bring_in", seen.append)
    divebell.load(folders["qwen2"], weights=weights, context=100).close()
    assert len(seen) == brought


def test_the_context_is_by_default_the_models(folders):
    with divebell.load(folders["llama-tied-llama3"]) as llm:
        assert llm.context == 2048
        with pytest.raises(BadInput, match="2048 tokens and at most 2047 fit"):
            llm.generate([1] * 2048)
    with pytest.raises(BadInput, match=r"context is 2049; it must be 2 .* to 2048 tokens"):
        divebell.load(folders["llama-tied-llama3"], context=2049)


def test_closing_frees_the_files_and_the_cache(folders):
    llm = divebell.load(folders["qwen2"])
    llm.generate([1, 2, 3], max_tokens=2)
    llm.close()
    maps = Path("/proc/self/maps").read_text()
    assert str(folders["qwen2"]) not in maps


@pytest.mark.parametrize(
    ("option", "value"), [("weights", ["f32"]), ("cache", ["f32"]), ("kv_dir", 5), ("ram", "9" * 400)]
)
def test_an_argument_of_another_kind_is_named(folders, option, value):
    with pytest.raises(BadInput, match=option):
        divebell.load(folders["qwen2"], **{option: value})


def test_a_name_longer_than_any_path_is_no_model():
    with pytest.raises(BadInput, match="model is"):
        divebell.load("x" * 5000)


def test_what_does_not_fit_is_refused_with_the_sum(folders):
    with pytest.raises(OverBudget, match=r"weights .* \+ cache .* \+ workspace .* and 1.0 MiB may be used"):
        divebell.load(folders["llama-tied-llama3"], ram="1MiB")


def test_ids_need_no_tokenizer_but_text_does(folders):
    with divebell.load(folders["qwen2"]) as llm:
        answer = llm.generate([1, 2], max_tokens=3)
        assert answer.text == ""
        assert len(answer.token_ids) == 3
        with pytest.raises(divebell.errors.DivebellError, match="tokenizer"):
            llm.generate("Hello")
        with pytest.raises(BadInput, match="stop"):
            llm.generate([1, 2], stop="x")


def test_damaged_weights_are_named(tmp_path):
    model = build("llama-tied-llama3")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = float("nan")
    model.save_pretrained(tmp_path)
    with divebell.load(tmp_path) as llm, pytest.raises(Mismatch, match=r"layers\.1\.mlp\.up_proj\.weight"):
        llm.generate([1, 2, 3], max_tokens=2)

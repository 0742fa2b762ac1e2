"""Adapters beside the weights against peft: every architecture, every target, every row with its own."""

import gguf_files
import numpy as np
import pytest
from adapters import logits as peft_logits
from adapters import save
from checkpoints import SHAPES, build
from running import PAGE, empty_cache

from divebell import models
from divebell.errors import DivebellError, Mismatch
from divebell.ops import native, reference
from divebell.ops.batch import Batch
from divebell.weights.adapter import read_adapter
from divebell.weights.checkpoint import open_checkpoint

TOLERANCE = 2e-4  # of the logits' deviation


def ids_of(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 320, count, np.int32)


def loaded(path, ops=native, weights="f32"):
    return models.load(open_checkpoint(path), ops, weights)


def adapter_of(model, folder):
    return model.adapter(model.changes(read_adapter(folder)))


def run(model, prompts, adapters, steps=1) -> list[np.ndarray]:
    """Logits of prompts side by side, each with its adapter or None, in so many steps."""
    cache, pages = empty_cache(model, max(map(len, prompts)), len(prompts))
    rows = [[] for _ in prompts]
    bounds = [np.linspace(0, len(prompt), steps + 1).astype(int) for prompt in prompts]
    for step in range(steps):
        begins, ends = ([bound[step + more] for bound in bounds] for more in (0, 1))
        ids = [prompt[a:b] for prompt, a, b in zip(prompts, begins, ends, strict=True)]
        hidden = model.forward(Batch.of(ids, begins, pages, tuple(adapters)), cache)
        for own, part in zip(rows, np.split(hidden, np.cumsum([len(x) for x in ids])[:-1]), strict=True):
            own.append(model.logits(part))
    return [np.concatenate(row) for row in rows]


def differs(found, expected) -> float:
    return float(np.abs(found - expected).max() / expected.std())


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_peft(name, tiny, tmp_path):
    ids = ids_of(PAGE + 6)
    expected = peft_logits(save(name, tmp_path), ids)
    for ops in (reference, native):
        model = loaded(tiny(name), ops)
        adapter = adapter_of(model, tmp_path)
        (without,) = run(model, [ids], [])
        for steps in (1, 5):
            assert differs(run(model, [ids], [adapter], steps)[0], expected) <= TOLERANCE
        assert differs(without, expected) > 0.1
        assert np.array_equal(run(model, [ids], [])[0], without)


MODULES = {
    "llama": (["q_proj"], ["v_proj", "o_proj"], ["gate_proj"], ["up_proj", "down_proj"]),
    "deepseek_v2-lite": (["kv_a_proj_with_mqa"], ["kv_b_proj"], ["gate_proj", "up_proj"]),
    "deepseek_v3": (["q_a_proj", "q_b_proj"], ["kv_b_proj"], ["shared_experts.down_proj"], ["mlp.gate"]),
}


@pytest.mark.parametrize(("name", "targets"), [(name, each) for name in MODULES for each in MODULES[name]])
def test_each_target_alone_is_those_of_peft(name, targets, tiny, tmp_path):
    ids, plain = ids_of(30), [target for target in targets if "." not in target]
    parameters = [f"{target}.weight" for target in targets if "." in target]
    settings = {"target_modules": plain or None, "target_parameters": parameters or None, "use_rslora": True}
    expected = peft_logits(save(name, tmp_path, **settings), ids)
    model = loaded(tiny(name))
    assert differs(run(model, [ids], [adapter_of(model, tmp_path)])[0], expected) <= TOLERANCE


@pytest.mark.parametrize("name", ["qwen2", "deepseek_v2-lite", "deepseek_v3"])
@pytest.mark.parametrize(("weights", "most"), [("f32", 1e-5), ("q8", 0.05)])
def test_rows_of_different_adapters_in_one_step_are_each_alone(name, weights, most, tiny, tmp_path):
    """Of whole layers, of attention alone, and none; two rows share one. Activations are rounded beside 8 bits."""
    model = loaded(tiny(name), weights=weights)
    save(name, tmp_path / "all", 3)
    save(name, tmp_path / "some", 4, target_modules=["o_proj"], r=2)
    whole, some = (adapter_of(model, tmp_path / folder) for folder in ("all", "some"))
    adapters = [whole, None, some, None, whole]
    prompts = [ids_of(count, seed) for seed, count in enumerate((70, 9, 33, 65, 12))]
    together = run(model, prompts, adapters, steps=4)
    for prompt, adapter, found in zip(prompts, adapters, together, strict=True):
        (alone,) = run(model, [prompt], [adapter], steps=4)
        assert differs(found, alone) <= most


@pytest.mark.parametrize("name", ["llama", "deepseek_v2-lite", "deepseek_v3"])
def test_a_gguf_takes_the_same_adapter(name, tmp_path):
    """Its converter has put rows of rotated heads in another order, and split up-projections."""
    ids = ids_of(40)
    expected = peft_logits(save(name, tmp_path), ids)
    model = loaded(gguf_files.write(build(name), tmp_path / "m.gguf"))
    assert differs(run(model, [ids], [adapter_of(model, tmp_path)])[0], expected) <= TOLERANCE


@pytest.mark.parametrize("weights", ["stored", "q8", "q4"])
def test_beside_quantized_weights_it_is_what_the_reference_computes(weights, tiny, tmp_path):
    name, ids = "deepseek_v3", ids_of(40)
    save(name, tmp_path)
    found = [
        run(model, [ids], [adapter_of(model, tmp_path)])[0]
        for model in (loaded(tiny(name), ops, weights) for ops in (native, reference))
    ]
    each = np.sqrt(((found[0] - found[1]) ** 2).mean(axis=1))
    # Not of every token: rounded activations make some of them choose another of nearly equal experts.
    assert np.median(each) <= 0.05 * found[1].std()


def test_what_it_takes_is_what_was_told(tiny, tmp_path):
    save("deepseek_v3", tmp_path)
    file, checkpoint = read_adapter(tmp_path), open_checkpoint(tiny("deepseek_v3"))
    for weights in ("f32", "q8"):
        adapter = adapter_of(loaded(tiny("deepseek_v3"), weights=weights), tmp_path)
        assert models.adapter_bytes(checkpoint, file, weights) == adapter.nbytes


def test_the_key_tells_adapters_apart(tiny, tmp_path):
    model = loaded(tiny("llama"))
    made = {"same": {}, "again": {}, "seed": {"seed": 4}, "alpha": {"lora_alpha": 7}}
    for folder, settings in made.items():
        save("llama", tmp_path / folder, **settings)
    keys = {folder: adapter_of(model, tmp_path / folder).key for folder in made}
    assert keys["same"] == keys["again"]
    assert len(set(keys.values())) == 3


@pytest.mark.parametrize(
    ("theirs", "ours", "problem"),
    [
        ("qwen2", "deepseek_v3", "mlp.down_proj changes 64x112 numbers, the model has 64x96"),
        ("deepseek_v2-lite", "deepseek_v3", "q_proj"),
        ("llama-biases-wide-heads", "llama", "k_proj changes 64x64 numbers, the model has 32x64"),
    ],
)
def test_an_adapter_of_another_model_is_refused_by_name(theirs, ours, problem, tiny, tmp_path):
    save(theirs, tmp_path)
    model = loaded(tiny(ours))
    with pytest.raises(Mismatch, match=f"is an adapter for another model.*{problem}"):
        model.changes(read_adapter(tmp_path))


def test_an_adapter_of_the_head_is_refused(tiny, tmp_path):
    save("llama", tmp_path, target_modules=["lm_head"])
    with pytest.raises(DivebellError, match="lm_head"):
        loaded(tiny("llama")).changes(read_adapter(tmp_path))

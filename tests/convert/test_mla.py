"""Dense models turned into MLA: exact where nothing is cut, and the same in transformers as here."""

import numpy as np
import pytest
import torch
import transformers
from checkpoints import build, save
from running import logits as run

from divebell import models
from divebell.convert.calibration import calibrate
from divebell.convert.grouped import Source
from divebell.convert.mla import Conversion
from divebell.convert.shape import width_of
from divebell.convert.write import write
from divebell.errors import BadInput, Unsupported
from divebell.ops import native
from divebell.weights.checkpoint import open_checkpoint

RANDOM = np.random.default_rng(3)
IDS = RANDOM.integers(0, 320, 96, np.int32)
TEXTS = RANDOM.integers(0, 320, (3, 64)).tolist()
EXACT = 1e-4
DENSE = ["llama", "llama-tied-llama3", "llama-linear", "mistral", "qwen2"]


def converted(folder, out, share=None) -> Conversion:
    source = Source(open_checkpoint(folder))
    conversion = Conversion(source, calibrate(source, TEXTS), share)
    write(conversion, out)
    return conversion


def logits(folder) -> np.ndarray:
    return run(models.load(open_checkpoint(folder), native, "f32"), IDS)


def in_transformers(model) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(IDS)[None].long()).logits[0].numpy()


@pytest.mark.parametrize("name", DENSE)
def test_at_full_rank_nothing_changes(name, tiny, tmp_path):
    converted(tiny(name), tmp_path / "mla")
    before, after = logits(tiny(name)), logits(tmp_path / "mla")
    assert abs(after - before).max() <= EXACT * before.std()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "mla").eval()
    assert type(loaded).__name__ == "DeepseekV3ForCausalLM"
    original = in_transformers(build(name))
    assert abs(in_transformers(loaded) - original).max() <= EXACT * original.std()


def test_biases_of_attention_are_kept(tmp_path):
    folder = save("llama-biases-wide-heads", tmp_path / "llama", mlp_bias=False)
    converted(folder, tmp_path / "mla")
    before = logits(folder)
    assert abs(logits(tmp_path / "mla") - before).max() <= EXACT * before.std()


def test_a_gguf_is_converted_too(tmp_path):
    """Its pairs lie side by side, and its weights are in blocks."""
    from checkpoints import CONFIG_OF_LLAMA

    from divebell.models.synth import plan, synth

    synth(plan(CONFIG_OF_LLAMA, "q8_0", folder=False), tmp_path / "llama.gguf")
    source = Source(open_checkpoint(tmp_path / "llama.gguf"))
    write(Conversion(source, calibrate(source, [[1, 2, 3, 4] * 8])), tmp_path / "mla")
    ids = IDS % 300
    before, after = (
        run(models.load(open_checkpoint(tmp_path / each), native, "f32"), ids) for each in ("llama.gguf", "mla")
    )
    assert abs(after - before).max() <= EXACT * before.std()


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_smaller_cache_loses_more_and_is_the_same_in_transformers(name, tiny, tmp_path):
    before, away = logits(tiny(name)), []
    for share in (0.75, 0.5):
        out = tmp_path / str(share)
        conversion = converted(tiny(name), out, share)
        width = conversion.shape.rank + 2 * conversion.shape.pairs
        config = models.configuration(open_checkpoint(tiny(name)))
        assert width == share * 2 * config.groups * config.head_dim
        loaded = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
        assert abs(in_transformers(loaded) - logits(out)).max() <= EXACT * before.std()
        away.append((abs(logits(out) - before).mean(), conversion.loss))
    assert away[0] < away[1]
    assert away[0][1] < away[1][1]


def test_what_mla_has_no_place_for_is_refused_by_name(tiny, tmp_path):
    refused = {
        "mistral-window": "sliding window of 48",
        "llama-biases-wide-heads": "mlp_bias",
        "deepseek_v3": "deepseek_v3",
    }
    for name, says in refused.items():
        with pytest.raises(Unsupported, match=says):
            Source(open_checkpoint(tiny(name)))
    source = Source(open_checkpoint(tiny("llama")))
    for share in (0, 0.1, 1.0, -1):
        with pytest.raises(BadInput, match=f"cache is {share:g}"):
            width_of(source, share)

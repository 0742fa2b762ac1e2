"""New models: what they begin from, that they learn, are served and loaded by others, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from blanks import CONFIGS, config, texts
from running import logits as native_logits
from small_tokenizers import byte_level_library, gguf_fields
from talkers import talker
from torch.nn import functional
from transformers.modeling_layers import MtpModel

from divebell import load, models
from divebell.errors import BadInput, DivebellError
from divebell.ops import native
from divebell.text.tokenizer import load_tokenizer
from divebell.tune.blank import Blank
from divebell.tune.loss import log_probabilities_of
from divebell.tune.model import Trainee
from divebell.tune.run import Run
from divebell.tune.samples import Sample
from divebell.tune.settings import Settings
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.write_gguf import write_gguf

QUICK = Settings(steps=6, batch=4, context=48, pack=256, rate=1e-2)
IDS = np.arange(40, dtype=np.int32) * 7 % 290


def trained(folder, name="deepseek_v3", settings=QUICK, **changes) -> tuple[Run, list[dict]]:
    run = Run("new", config(folder, name, **changes), texts(folder), settings)
    return run, list(run.train(folder / "out"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("small"))


def test_it_learns(small):
    run, figures = small
    assert figures[0]["loss"] == pytest.approx(np.log(300), abs=0.3)
    assert figures[-1]["held_out"] < figures[0]["held_out"] - 0.5
    assert figures[-1]["mtp"] < figures[0]["mtp"]
    assert run.held_out


def test_files_have_the_released_names(small):
    tensors = open_checkpoint(small[0].result).tensors
    own = {name.removeprefix("model.layers.2.") for name in tensors if name.startswith("model.layers.2.")}
    released = {f"{name}.weight" for name in ("enorm", "hnorm", "eh_proj", "shared_head.norm", "shared_head.head")}
    assert released | {"embed_tokens.weight", "mlp.gate.e_score_correction_bias"} <= own
    assert (tensors["model.layers.2.shared_head.head.weight"].data == tensors["lm_head.weight"].data).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_transformers_and_the_engine_load_it(name, small, tmp_path):
    run = small[0] if name == "deepseek_v3" else trained(tmp_path, name)[0]
    ids = torch.from_numpy(IDS)[None].long()
    model = transformers.AutoModelForCausalLM.from_pretrained(run.result, dtype=torch.float32)
    with torch.no_grad():
        reference = model(ids).logits[0].numpy()
    served = native_logits(models.load(open_checkpoint(run.result), native, "f32"), IDS)
    assert np.abs(served - reference).max() <= 2e-4 * reference.std()
    tokenizer, text = transformers.AutoTokenizer.from_pretrained(run.result), "after 11 comes 12"
    llm = load(run.result, ram="1GiB")
    assert llm.tokenizer.encode(text) == tokenizer.encode(text)
    assert llm.chat([{"role": "user", "content": "5?"}], max_tokens=3).usage.completion_tokens <= 3
    llm.close()


def test_the_next_layer_is_that_of_transformers(small):
    """Its logits, its loss, and that its gradient reaches the trunk."""
    folder = small[0].result
    main = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids, positions = torch.from_numpy(IDS)[None].long(), torch.arange(1, 40)[None]
    with torch.no_grad():
        last = main(ids, output_hidden_states=True).hidden_states[-1]
        main._keys_to_ignore_on_load_unexpected = [r"model\.layers\.2\."]  # transformers knows V3's own 61 alone
        mtp = MtpModel.from_pretrained(main).eval()
        rows = mtp.forward_layer(0, last[:, :-1], positions, None, input_ids=ids[:, 1:])
        expected = main.lm_head(rows)[0]
    trainee = Trainee(open_checkpoint(folder), "f32", mtp=True)
    embedding = trainee.weights["embedding"].thaw()
    hidden = trainee.hidden([IDS, IDS[:9]])
    ahead = trainee.hidden_ahead(hidden, [IDS, IDS[:9]])
    assert (trainee.model.logits(ahead)[:39] - expected).abs().max() <= 2e-4 * expected.std()
    rows = trainee.hidden_ahead(trainee.hidden([IDS]), [IDS])
    loss = -log_probabilities_of(trainee, rows, [Sample(IDS, np.ones(40, bool))], ahead=2)[0].sum()
    reference = functional.cross_entropy(expected[:-1], ids[0, 2:], reduction="sum")
    assert loss.item() == pytest.approx(reference.item(), rel=1e-4)
    loss.backward()
    assert embedding.grad.abs().sum() > 0


def test_a_full_run_trains_the_next_layer_too(small, tmp_path):
    base, rows = small[0].result, texts(tmp_path)[1]
    figures = list(Run("full", str(base), rows, Settings(steps=2, batch=2, context=400)).train(tmp_path / "with"))
    assert "mtp" in figures[0]
    without = Run("full", str(base), rows, Settings(steps=2, batch=2, context=400, mtp=0.0))
    assert "mtp" not in next(iter(without.train(tmp_path / "out")))


def test_without_the_next_layer(tmp_path):
    run, figures = trained(tmp_path, settings=Settings(steps=2, batch=2, context=32, mtp=0.0))
    assert "mtp" not in figures[0]
    assert not [name for name in open_checkpoint(run.result).tensors if name.startswith("model.layers.2.")]
    assert json.loads((run.result / "config.json").read_text())["num_nextn_predict_layers"] == 0


def test_a_run_that_was_broken_off_continues_on_the_same_curve(small, tmp_path):
    """Biases among what is kept."""
    broken = Run("new", config(tmp_path), texts(tmp_path), QUICK, save_seconds=0).train(tmp_path / "out")
    first = [next(broken) for _ in range(3)]
    broken.close()
    run, rest = trained(tmp_path)
    whole = small[1]
    assert [row["loss"] for row in first[: rest[0]["step"]] + rest] == [row["loss"] for row in whole]
    same = zip(*(open_checkpoint(r.result).tensors.items() for r in (run, small[0])), strict=True)
    assert all(one == other and (a.data == b.data).all() for (one, a), (other, b) in same)


def test_texts_are_learned_to_their_ends(tmp_path):
    run = Run("new", config(tmp_path), texts(tmp_path), QUICK)
    decoded = [run._tokenizer.decode(s.ids, skip_special_tokens=False) for s in run.training]
    assert sum(text.count("<|endoftext|>") for text in decoded) >= 18
    assert max(len(s) for s in run.training) == 48


@pytest.mark.parametrize("stored", ["folder", "gguf"])
def test_a_tokenizer_can_be_borrowed(stored, tmp_path):
    library = byte_level_library(special=("<|im_start|>", "<|im_end|>"))
    lender = talker(tmp_path / "lender")
    if stored == "gguf":
        lender = tmp_path / "lender.gguf"
        fields = gguf_fields(library, "llama-bpe", eos_token_id=1, add_bos_token=False)
        fields["tokenizer.ggml.token_type"] = fields["tokenizer.ggml.token_type"].tolist()
        write_gguf(lender, "llama", fields, [], iter(()))
    path = Path(config(tmp_path, vocab_size=700))
    settings = Settings(tokenizer=str(lender))
    blank = Blank(path, [], settings)
    for text in ("after 11 comes 12", "  naïve 天地\n\n1234567"):
        assert load_tokenizer(blank).encode(text, add_special_tokens=False) == library.encode(text).ids
    assert blank.config["eos_token_id"] == [1]
    with pytest.raises(BadInput, match="vocab_size is 300, and the tokenizer has"):
        Blank(Path(config(tmp_path, vocab_size=300)), [], settings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocab_size": 200}, "vocab_size is 200; a byte for each token and 3 marks take 259"),
        ({"num_nextn_predict_layers": 2}, "num_nextn_predict_layers 2 is not supported"),
        ({"hidden_size": "wide"}, "hidden_size: is 'wide'"),
        ({"model_type": "mamba"}, "architecture 'mamba' is not supported"),
    ],
)
def test_configs_that_can_not_be_are_refused(changes, said, tmp_path):
    with pytest.raises(DivebellError, match=said):
        Run("new", config(tmp_path, **changes), texts(tmp_path), QUICK)


def test_texts_that_can_not_be_are_refused(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"text": "good"}\n{"prompt": "a"}\n')
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(BadInput, match="line 2: text is 'None'; give a string"):
        Run("new", config(tmp_path), [tmp_path / "bad.jsonl"], QUICK)
    with pytest.raises(BadInput, match=r"empty\.txt has no text"):
        Run("new", config(tmp_path), [tmp_path / "empty.txt"], QUICK)
    with pytest.raises(BadInput, match="tokenizer is given, and full has no use for it; it is for new"):
        Settings(tokenizer="x").check("full")

"""Observed logits are the model's own at the sampled places, and a verdict names what is far or lost."""

import numpy as np
import pytest

import divebell
from divebell.engine.divergence import of_logits
from divebell.errors import BadInput
from divebell.evaluate.exam import Exam, Probe, exam
from divebell.evaluate.verify import Observed, compare, observe, sampled, written
from divebell.models.synth import plan, synth

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 2048,
}
PROBE = Probe("path", "key = /a/b", "\nkey =", "/a/b", "\n", 7)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "tiny.gguf"
    synth(plan(CONFIG, "q4_0", folder=False), path)
    return path


def test_what_is_kept_are_the_logits_at_sampled_positions(model):
    with divebell.load(model, weights="f32", context=1800) as llm:
        made = exam(llm.tokenizer, written(llm, 1500, seed=0), 1500, seed=0)
        seen, all_of_them = observe(llm, made), llm.logits(made.ids)
    np.testing.assert_allclose(seen.rows, all_of_them[sampled(1500)], atol=1e-4)
    assert len(seen.answers) == len(made.probes) == 10


def test_samples_are_of_each_depth():
    places = sampled(20_000)
    assert places == sorted(set(places))
    counts = np.histogram(places, [0, 1024, 2048, 4096, 8192, 16384, 20_000])[0]
    assert counts.tolist() == [256] * 6
    assert sampled(100) == list(range(100))


def observed(seed: int, answer: str, tokens: int = 3000, far: float = 0.0) -> Observed:
    """Noise of size `far` from position 1,024 on."""
    rows = np.random.default_rng(0).normal(0, 2, (len(sampled(tokens)), 50)).astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, far, rows.shape).astype(np.float32)
    return Observed(rows + noise * (np.array(sampled(tokens)) >= 1024)[:, None], [answer])


def test_a_model_that_differs_at_depth_is_not_the_same():
    made = Exam(list(range(3000)), [PROBE])
    reference, other = observed(1, "/a/b"), observed(2, "/a/b", far=0.5)
    verdict = compare(reference, other, made, within=0.01)
    assert [(one.first, one.end) for one in verdict.buckets] == [(0, 1024), (1024, 2048), (2048, 3000)]
    begin, middle, end = (one.found.mean for one in verdict.buckets)
    assert abs(begin) < 1e-6
    assert middle == pytest.approx(of_logits(reference.rows[256:512], other.rows[256:512]).mean(), rel=1e-6)
    assert [reason.split("positions ")[1].split(",  ")[0] for reason in verdict.reasons] == [
        "1,024 to 2,047, above 0.01",
        "2,048 to 2,999, above 0.01",
    ]
    assert compare(reference, other, made, within=max(middle, end)).same


@pytest.mark.parametrize(
    ("reference", "model", "same"),
    [("/a/b", "/a/b", True), ("/a/b", "/a/c", False), ("x", "y", True), ("x", "/a/b", True)],
)
def test_a_copy_is_lost_that_the_reference_has(reference, model, same):
    verdict = compare(observed(1, reference), observed(1, model), Exam(list(range(3000)), [PROBE]), within=0)
    assert verdict.same is same
    assert same or verdict.reasons == ["the path at 7 is lost: /a/b"]


def test_another_vocabulary_or_tokenizer_is_refused(model):
    other = Observed(observed(1, "x").rows[:, :40], ["x"])
    with pytest.raises(BadInput, match="50 and 40 tokens"):
        compare(observed(1, "x"), other, Exam(list(range(3000)), [PROBE]), within=1)
    with (
        divebell.load(model, context=512) as llm,
        pytest.raises(BadInput, match="tokenizers of model and reference differ"),
    ):
        observe(llm, Exam([1] * 300, [PROBE]))


def test_an_answer_ends_where_the_line_does():
    class Talker:
        vocabulary = 50
        tokenizer = type("Letters", (), {"encode": staticmethod(lambda text, **_: [ord(x) % 50 for x in text])})

        def read(self, ids, use):
            use(0, np.zeros((len(ids), 50), np.float32))

        def batch(self, prompts, max_tokens):
            assert all(prompt[:-6] == made.ids for prompt in prompts)
            return [type("Answer", (), {"text": " /a/b\nand more"}) for _ in prompts]

    line = Talker.tokenizer.encode("\nkey = /a/b\n")
    made = Exam([1] * 7 + line, [PROBE])
    assert observe(Talker(), made).answers == ["/a/b"]

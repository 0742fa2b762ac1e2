"""What a person meets first: the import, and the errors of `load`."""

import subprocess
import sys

import pytest

import divebell
from divebell.errors import BadInput, DivebellError

HEAVY = ("numpy", "tokenizers", "jinja2", "torch", "transformers", "rich", "gguf", "divebell._native")


def test_import_brings_nothing_heavy():
    code = f"import divebell, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_running_a_model_needs_neither_torch_nor_transformers():
    code = (
        "import sys, divebell.engine.load, divebell.engine.llm, divebell.ops.native, divebell.models, "
        "divebell.text.tokenizer, divebell.text.chat, divebell.weights.checkpoint; "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False False"


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert divebell.__version__ == version("divebell")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"weights": "q3"}, "weights is 'q3'; it must be one of stored, f32, bf16, q8, q4"),
        ({"weights": None}, "weights is None"),
        ({"threads": 0}, "threads is 0; it must be an integer, 1 to 1024"),
        ({"threads": 1.5}, "threads is 1.5"),
        ({"threads": True}, "threads is True"),
        ({"ram": "lots"}, "ram is 'lots'; give a number of bytes"),
        ({"ram": 0}, "ram is 0"),
    ],
)
def test_an_argument_out_of_range_is_named(tmp_path, arguments, says):
    with pytest.raises(BadInput, match=says):
        divebell.load(tmp_path, **arguments)


@pytest.mark.parametrize("name", ["no-such-model", "", "/no/such/folder", "a/b/c/d"])
def test_an_unknown_model_is_named(name):
    with pytest.raises(DivebellError, match=name or "''"):
        divebell.load(name)

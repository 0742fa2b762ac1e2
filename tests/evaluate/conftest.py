"""What the tests of evaluate share."""

from pathlib import Path

import pytest
import small_data
import talkers

import divebell
from divebell.errors import NoSandbox
from divebell.evaluate.sandbox import check_sandbox


@pytest.fixture(scope="session")
def rows(tmp_path_factory) -> Path:
    """A folder of small benchmarks."""
    return small_data.folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def talker(tmp_path_factory) -> Path:
    """A tiny model with a tokenizer."""
    return talkers.talker(tmp_path_factory.mktemp("talker"))


@pytest.fixture(scope="session")
def llm(talker):
    with divebell.load(talker, weights="f32", threads=1) as llm:
        yield llm


@pytest.fixture
def contained():
    try:
        check_sandbox()
    except NoSandbox as refusal:
        pytest.skip(str(refusal))

import pytest
from fakes import fake_llm


@pytest.fixture
def make_llm():
    return fake_llm


@pytest.fixture
def llm():
    return fake_llm()

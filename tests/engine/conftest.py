import pytest
from fakes import VOCABULARY, FakeModel, LetterTokenizer

from divebell.engine.cache import Cache
from divebell.engine.core import Core
from divebell.engine.engine import Engine
from divebell.engine.llm import LLM, Limits


class FakeChat:
    def render(self, messages, tools=None, **variables):
        return "".join(f"[{m['role'][0]}]{m['content']}" for m in messages) + "[a]"

    def splitter(self, prompt=None):
        from divebell.text.dialects import plain

        return plain.splitter(prompt or "")


class FakeVoice:
    tokenizer = LetterTokenizer()
    chat = FakeChat()
    speaks = True
    eos_ids = LetterTokenizer.eos_ids


@pytest.fixture
def make_llm():
    """make_llm(pages=..., context=..., broken_at=...): an LLM on the fake model, with its core as `.core`."""

    def make(pages: int = 64, context: int = 1024, broken_at: int | None = None) -> LLM:
        model = FakeModel(broken_at)
        core = Core(model, Cache(model.cache_layout, model.cache_dtype, pages))
        llm = LLM(Engine(core), Limits(VOCABULARY, context), FakeVoice(), None, {})
        llm.core = core
        return llm

    return make


@pytest.fixture
def llm(make_llm):
    return make_llm()

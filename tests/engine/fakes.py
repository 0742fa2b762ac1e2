"""A model whose next token depends on every token before it, all of which it must find again in the cache."""

from types import SimpleNamespace

import numpy as np

from divebell.engine.cache import Cache
from divebell.engine.core import Core
from divebell.engine.engine import Engine
from divebell.engine.llm import LLM, Limits
from divebell.text.dialects import plain

VOCABULARY = 97


def next_token(history: list[int]) -> int:
    """What the fake model thinks comes next: any lost, swapped or stale token changes it."""
    value = 7
    for token in history:
        value = (value * 31 + token + 1) % 1_000_003
    return value % VOCABULARY


class FakeModel:
    """Hidden width 2: the position of the token, and the next token as read from the cache."""

    cache_dtype = np.dtype(np.float32)
    cache_layout = ({"token": 1}, {"other": 2})

    def __init__(self, broken_at: int | None = None):
        self.config = SimpleNamespace(vocab_size=VOCABULARY, max_positions=1 << 20)
        self.broken_at = broken_at
        self.batches: list[object] = []

    def forward(self, batch, cache):
        self.batches.append(batch)
        rows = []
        for s, (begin, end) in enumerate(zip(batch.starts[:-1], batch.starts[1:], strict=True)):
            pages = cache[0]["token"]
            for token, position in zip(batch.ids[begin:end], batch.positions[begin:end], strict=True):
                page, slot = divmod(int(position), pages.shape[1])
                pages[batch.pages[s, page], slot] = token
                history = [
                    int(pages[batch.pages[s, p // pages.shape[1]], p % pages.shape[1], 0]) for p in range(position + 1)
                ]
                rows.append((position, next_token(history)))
        return np.array(rows, np.float32)

    def check_weights(self):
        """Nothing is found damaged."""

    def logits(self, hidden):
        logits = np.sin(np.arange(VOCABULARY, dtype=np.float32) * (1 + hidden[:, :1]))
        logits[np.arange(len(hidden)), hidden[:, 1].astype(int)] = 10
        if self.broken_at is not None:
            logits[hidden[:, 0] >= self.broken_at] = np.nan
        return logits


def continuation(prompt: list[int], count: int) -> list[int]:
    """What greedy decoding must give."""
    history = list(prompt)
    for _ in range(count):
        history.append(next_token(history))
    return history[len(prompt) :]


class LetterTokenizer:
    """One letter for each token, from the space on; 96 ends a text."""

    eos_ids = frozenset({96})
    bos_id = None
    vocabulary_size = VOCABULARY

    def encode(self, text, add_special_tokens=True):
        return [ord(letter) - 32 for letter in text]

    def decode(self, ids, skip_special_tokens=True):
        return "".join(chr(i + 32) for i in ids)

    def token_text(self, token_id):
        return chr(token_id + 32)

    def detokenizer(self):
        return LetterDetokenizer()


class LetterDetokenizer:
    def push(self, token):
        return chr(token + 32)

    def flush(self):
        return ""


class FakeChat:
    def render(self, messages, tools=None, **variables):
        return "".join(f"[{m['role'][0]}]{m['content']}" for m in messages) + "[a]"

    def splitter(self, prompt=None):
        return plain.splitter(prompt or "")


class FakeVoice:
    tokenizer = LetterTokenizer()
    chat = FakeChat()
    speaks = True
    eos_ids = LetterTokenizer.eos_ids

    def close(self):
        """Nothing is open."""


def fake_llm(pages: int = 64, context: int = 1024, broken_at: int | None = None, longest: int = 1024) -> LLM:
    """An LLM on the fake model, with its core as `.core`."""
    model = FakeModel(broken_at)
    core = Core(model, Cache(model.cache_layout, model.cache_dtype, pages))
    llm = LLM(Engine(core), Limits(VOCABULARY, context, longest), FakeVoice(), None, {})
    llm.core = core
    return llm

"""A model whose next token depends on every token before it, all of which it must find again in the cache."""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from divebell.engine.cache import Cache
from divebell.engine.core import Core
from divebell.engine.engine import Engine
from divebell.engine.generation import Generation
from divebell.engine.llm import LLM
from divebell.engine.prompt import Limits
from divebell.engine.sampling import Sampling
from divebell.engine.sequence import Sequence
from divebell.engine.store import Store
from divebell.text.parser import Parser

VOCABULARY = 97


@dataclass(frozen=True)
class FakeAdapter:
    """All that follows from the first token is another; its own file, and what a model makes of it."""

    key: bytes
    nbytes: int = 100

    @property
    def start(self) -> int:
        return 8 + sum(self.key)


def rolling(history: list[int], adapter: FakeAdapter | None = None) -> list[int]:
    """What the tokens up to each position come to: any lost, swapped or stale one changes it."""
    start = adapter.start if adapter else 7
    return list(accumulate(history, lambda value, token: (value * 31 + token + 1) % 1_000_003, initial=start))[1:]


def next_token(history: list[int], adapter: FakeAdapter | None = None) -> int:
    """What the fake model thinks comes next."""
    return rolling(history, adapter)[-1] % VOCABULARY


class FakeModel:
    """Hidden width 2: the position of the token, and the next token as read from the cache.

    The cache's second layer holds what the first one's tokens come to at each position, so that one wrong page in any
    layer shows.
    """

    cache_dtype = np.dtype(np.float32)
    cache_layout = ({"token": 1}, {"other": 2})

    def __init__(self, broken_at: int | None = None):
        self.config = SimpleNamespace(vocab_size=VOCABULARY, max_positions=1 << 20)
        self.broken_at = broken_at
        self.batches: list[object] = []
        self.seconds = 0.0  # on a clock of its own, so that what is learned from it is the same each time

    def step(self, batch, cache):
        self.batches.append(batch)
        self.seconds += 0.01 + 0.001 * len(batch.ids)
        tokens, other = cache[0]["token"][..., 0], cache[1]["other"]
        rows = []
        for s, (begin, end) in enumerate(zip(batch.starts[:-1], batch.starts[1:], strict=True)):
            length, places = int(batch.lengths[s]), batch.pages[s]
            page, slot = np.divmod(batch.positions[begin:end], tokens.shape[1])
            tokens[places[page], slot] = batch.ids[begin:end]
            adapter = batch.adapters[s] if batch.adapters else None
            sums = rolling([int(t) for t in tokens[places].reshape(-1)[:length]], adapter)
            other[places[page], slot] = np.stack([batch.positions[begin:end], sums[length - (end - begin) :]], axis=1)
            expected = np.stack([np.arange(length), sums], axis=1)
            assert np.array_equal(other[places].reshape(-1, 2)[:length], expected), "a wrong page"
            rows += [(p, sums[p] % VOCABULARY) for p in batch.positions[begin:end]]
        return np.array(rows, np.float32)

    def changes(self, file):
        return file

    def adapter_bytes(self, changes):
        return changes.nbytes

    def adapter(self, changes):
        return changes

    def check_weights(self):
        """Nothing is found damaged."""

    def logits(self, hidden):
        logits = np.sin(np.arange(VOCABULARY, dtype=np.float32) * (1 + hidden[:, :1]))
        logits[np.arange(len(hidden)), hidden[:, 1].astype(int)] = 10
        if self.broken_at is not None:
            logits[hidden[:, 0] >= self.broken_at] = np.nan
        return logits


def continuation(prompt: list[int], count: int, adapter: FakeAdapter | None = None) -> list[int]:
    """What greedy decoding must give."""
    history = list(prompt)
    for _ in range(count):
        history.append(next_token(history, adapter))
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

    def token_bytes(self, token_id):
        return chr(token_id + 32).encode()

    def is_special(self, token_id):
        return token_id in self.eos_ids

    def detokenizer(self, marks=None):
        return LetterDetokenizer()


class LetterDetokenizer:
    def push(self, token):
        return chr(token + 32)

    def flush(self):
        return ""


class FakeChat:
    marks = call_marks = frozenset()

    def render(self, messages, tools=None, **variables):
        return "".join(f"[{m['role'][0]}]{m['content']}" for m in messages) + "[a]"

    def governed_after(self, prompt):
        return "z" if prompt.endswith("think[a]") else None

    def parser(self, prompt="", tools=None):
        return Parser()


class FakeVoice:
    tokenizer = LetterTokenizer()
    chat = FakeChat()
    speaks = True
    eos_ids = LetterTokenizer.eos_ids

    def close(self):
        """Nothing is open."""


def core_of(pages: int = 64, folder: Path | None = None, limit: int = 1 << 30, **model) -> Core:
    """folder: where its pages are kept."""
    fake = FakeModel(**model)
    cache = Cache(fake.cache_layout, fake.cache_dtype, pages)
    store = Store(folder, {"model": "fake"}, cache, limit) if folder else None
    return Core(fake, cache, lambda: fake.seconds, store)


def generation(prompt: list[int], count: int, adapter: FakeAdapter | None = None, **sampling) -> Generation:
    """A request for exactly `count` tokens."""
    options = Sampling(max_tokens=count, **sampling)
    return Generation(prompt, options, len(prompt) + count, VOCABULARY, set(), adapter=adapter)


def run(core: Core, *sequences: Sequence) -> None:
    for sequence in sequences:
        core.submit(sequence)
    finish(core, *sequences)


def finish(core: Core, *sequences: Sequence) -> None:
    while not all(sequence.finished for sequence in sequences):
        core.step()
        core.check_integrity()


def answer(sequence: Generation) -> list[int]:
    return sequence.ids[sequence.given :]


def fake_llm(pages: int = 64, context: int = 1024, broken_at: int | None = None, longest: int = 1024) -> LLM:
    """An LLM on the fake model, with its core as `.core`."""
    core = core_of(pages, broken_at=broken_at)
    llm = LLM(Engine(core), Limits(VOCABULARY, context, longest), FakeVoice(), None, {})
    llm.core = core
    return llm

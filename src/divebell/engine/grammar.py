"""Answers that follow a JSON schema, a regex or a grammar: which tokens may come next.

llguidance walks the grammar and gives one bit for each token of the vocabulary; the sampler draws from those that are
set. A mask is made while the token before it is taken, so a request whose grammar can only end needs no further step.
"""

import json
import re
from collections.abc import Callable, Iterable, Set
from functools import lru_cache

import numpy as np

from divebell.engine.sampling import Sampling
from divebell.engine.schema import enforceable
from divebell.engine.speculative import Guess
from divebell.errors import BadInput

KEPT = 32  # compiled grammars: agents send the same few again and again
LEAD = "\x02"


class Grammars:
    """What one model's requests may be held to; made once, in 0.1 seconds for a vocabulary of 49,000.

    tokenizer: a `divebell.text.tokenizer.Tokenizer`. vocabulary: the numbers in a row of logits. marks: tokens that are
    no text to a grammar, which names them `<[id]>`; as special ones are, whatever their file calls them. call_marks:
    those of them that calls of tools are written with.
    """

    def __init__(
        self,
        tokenizer: object,
        vocabulary: int,
        eos_ids: Iterable[int],
        marks: Iterable[str] = (),
        call_marks: Iterable[str] = (),
    ):
        import llguidance

        self._library, self._vocabulary, self._eos_ids = llguidance, vocabulary, sorted(eos_ids)
        self._marks = {mark: id for mark in marks if (id := tokenizer.token_id(mark)) is not None}
        self._call_marks = self._marks.keys() & set(call_marks)
        self._spelling = Spelling(tokenizer, vocabulary, self._eos_ids, set(self._marks.values()))
        self._tokens = llguidance.LLTokenizer(self._spelling, eos_token=self._eos_ids or None)
        self._spelling.greedy = self._tokens.greedy_tokenize
        self._limits = llguidance.LLParserLimits(verbose_errors=False)
        self._compiled = lru_cache(KEPT)(self._compile)
        self._closing = lru_cache(KEPT)(self._spelling.closing)

    def governor(self, sampling: Sampling) -> "Governor | None":
        """For one request; None where everything is allowed. Raises BadInput naming the option and what is wrong."""
        if sampling.constraint is None:
            return None
        name, value = sampling.constraint
        if name == "json_schema":
            value = json.dumps(enforceable(value))
        matcher, begun = self._compiled(name, value).deep_copy(), sampling.governed_from
        if begun is not None and not matcher.consume_tokens(self._ids(begun)):
            raise BadInput(f"governed_from is {begun!r:.80}, which the {name} does not begin with")
        governor = Governor(matcher, self._allowed, self._eos_ids, name)
        if begun is not None:
            others = [self._marks[mark] for mark in self._call_marks if mark not in begun]
            governor = self._waiting(governor, begun.strip(), others)
        return governor if sampling.governed_after is None else self._waiting(governor, sampling.governed_after)

    def _waiting(self, governor: "Governor | Awaited", mark: str, barred: Iterable[int] = ()) -> "Awaited":
        return Awaited(governor, mark.encode(), self._spelling.tokens, self._closing, barred)

    def _ids(self, text: str) -> list[int]:
        """Of a text with marks in it."""
        pattern = "|".join(map(re.escape, sorted(self._marks, key=len, reverse=True)))
        parts = [part for part in re.split(f"({pattern})", text) if part] if pattern else [text]
        return [id for part in parts for id in ([self._marks[part]] if part in self._marks else self._spelling(part))]

    def _compile(self, name: str, value: str) -> object:
        """A matcher at its beginning."""
        matcher = self._library.LLMatcher(self._tokens, self._grammar(name, value), log_level=0, limits=self._limits)
        problem = matcher.get_error() or self._problem_of_beginning(name, matcher.deep_copy())
        if problem:
            raise BadInput(f"{name}: {problem.strip()}")
        return matcher

    def _grammar(self, name: str, value: str) -> str:
        if name == "json_schema":
            return json.dumps({"grammars": [{"json_schema": json.loads(value)}]})
        lark = f"start: /{self._library.regex_to_lark(value, 'dw')}/" if name == "regex" else _lark(value)
        return json.dumps({"grammars": [{"lark_grammar": lark}]})

    def _problem_of_beginning(self, name: str, matcher: object) -> str:
        if warnings := matcher.get_grammar_warnings() if name == "json_schema" else ():
            return "; ".join(warnings)
        allowed = self._allowed(matcher)
        if matcher.is_error() or _no_more_than(self._eos_ids, allowed):
            return "no text matches it" if not matcher.is_accepting() else "only the empty text matches it"
        return ""

    def _allowed(self, matcher: object) -> np.ndarray:
        bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        return np.flatnonzero(np.unpackbits(bits, count=self._vocabulary, bitorder="little")).astype(np.int32)


class Governor:
    """Holds one request to its grammar. ended: nothing but the end of the text can come."""

    def __init__(self, matcher: object, allowed: Callable[[object], np.ndarray], eos_ids: list[int], name: str):
        self._matcher, self._find, self._eos_ids, self._name = matcher, allowed, eos_ids, name
        self._found: np.ndarray | None = None  # a request that waits has none yet: it may be large
        self.ended = False

    @property
    def allowed(self) -> np.ndarray:
        """int32 (n,), ids that may come next, ascending, never none."""
        if self._found is None:
            self._found = self._find(self._matcher)
        return self._found

    def take(self, token: int) -> None:
        """`token`, one of the allowed ones, has come. Raises BadInput where no token could follow it."""
        self._matcher.consume_token(token)
        self._found = self._find(self._matcher)
        if self._matcher.is_error():
            raise BadInput(f"{self._name}: no token can follow what the answer has so far: {self._matcher.get_error()}")
        self.ended = self._matcher.is_stopped() or _no_more_than(self._eos_ids, self.allowed)

    def narrowed(self, guesses: list[Guess], most: int) -> list[Guess]:
        """At most so many tokens that the grammar leaves no choice about; where there are none, the first of `guesses`
        that it allows."""
        if forced := self._matcher.compute_ff_tokens()[:most]:
            return [Guess(token, 1.0) for token in forced]
        return guesses[: self._matcher.validate_tokens([guess.token for guess in guesses])]


class Awaited:
    """Everything but the tokens `barred` is allowed until `mark` has come; then `governor` rules.

    The rest of the token that completes the mark may be white space, which belongs to nobody: tokens that would bring
    the beginning of the answer along are not allowed there, since no grammar has seen it.
    """

    ended = False

    def __init__(
        self,
        governor: "Governor | Awaited",
        mark: bytes,
        tokens: list[bytes],
        closing: Callable[[bytes, int], np.ndarray],
        barred: Iterable[int] = (),
    ):
        self._governor, self._mark, self._tokens, self._closing = governor, mark, tokens, closing
        self._barred = np.array(list(barred), np.int64)
        self._tail = b""
        self._came = False

    @property
    def allowed(self) -> np.ndarray | None:
        """int32 (n,), ids that may come next, ascending; None where all may."""
        return self._governor.allowed if self._came else self._open()

    def take(self, token: int) -> None:
        if self._came:
            self._governor.take(token)
            self.ended = self._governor.ended
            return
        text = self._tail + self._tokens[token]
        self._came = self._mark in text
        self._tail = text[-len(self._mark) + 1 :] if len(self._mark) > 1 else b""

    def narrowed(self, guesses: list[Guess], most: int) -> list[Guess]:
        return self._governor.narrowed(guesses, most) if self._came else guesses

    def _open(self) -> np.ndarray | None:
        cuts = [cut for cut in range(len(self._mark)) if self._tail.endswith(self._mark[:cut])]
        barred = np.concatenate([self._barred, *(self._closing(self._mark, cut) for cut in cuts)])
        if not len(barred):
            return None
        allowed = np.ones(len(self._tokens), bool)
        allowed[barred] = False
        return np.flatnonzero(allowed).astype(np.int32)


class Spelling:
    """A tokenizer as llguidance wants it: the bytes of each token, and what a text would be encoded to.

    tokens: one for each row of logits; b"" for ids that are no token, which are then never allowed.
    """

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: object, vocabulary: int, eos_ids: list[int], marks: Set[int | None]):
        self._encode, self._special = tokenizer.encode, tokenizer.is_special
        self.tokens = [tokenizer.token_bytes(token) for token in range(vocabulary)]
        self.special_token_ids = [id for id in range(vocabulary) if tokenizer.is_special(id) or id in marks]
        self.bos_token_id = tokenizer.bos_id
        self.eos_token_id = eos_ids[0] if eos_ids else None
        self.greedy: Callable[[str], list[int]] | None = None

    def __call__(self, text: str) -> list[int]:
        """Ids that spell `text` exactly, as the model would have seen it in the middle of a text.

        SentencePiece puts a space before every text, hence the second try behind a letter that stands alone.
        """
        for lead in ("", LEAD):
            ids = self._without(lead, self._encode(lead + text, add_special_tokens=False))
            if not any(map(self._special, ids)) and b"".join(self.tokens[i] for i in ids) == text.encode():
                return ids
        return self.greedy(text)

    def _without(self, lead: str, ids: list[int]) -> list[int]:
        if not lead:
            return ids
        ends = [index for index, token in enumerate(ids) if self.tokens[token] == lead.encode()]
        return ids[ends[0] + 1 :] if ends else []

    def closing(self, mark: bytes, cut: int) -> np.ndarray:
        """Tokens that complete `mark`, of which `cut` bytes have come, and have more than white space after it."""
        rest = mark[cut:]
        found = [i for i, token in enumerate(self.tokens) if len(token) > len(rest) and rest in token]
        return np.array([i for i in found if _goes_on(self.tokens[i], rest, anywhere=not cut)], np.int64)


def _no_more_than(eos_ids: list[int], allowed: np.ndarray) -> bool:
    return len(allowed) <= len(eos_ids) and set(allowed.tolist()) <= set(eos_ids)


def _goes_on(token: bytes, rest: bytes, anywhere: bool) -> bool:
    before, _, after = token.partition(rest)
    return bool(after.strip()) and (anywhere or not before)


def _lark(text: str) -> str:
    """llama.cpp's GBNF becomes Lark."""
    if "::=" not in text:
        return text
    from llguidance.gbnf_to_lark import GbnfToLarkError, gbnf_to_lark

    try:
        return gbnf_to_lark(text)
    except (GbnfToLarkError, ValueError, KeyError, IndexError) as problem:
        raise BadInput(f"grammar: it is not GBNF: {problem}") from None

"""How the next token is to be chosen: the options of one request, checked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real

from divebell.errors import BadInput

MAX_STOPS = 64
LEAST_PENALTY = 0.01  # logits divided by a much smaller one leave float32
_RANGES = {
    "temperature": (0, 100),
    "min_p": (0, 1),
    "repetition_penalty": (LEAST_PENALTY, 100),
    "frequency_penalty": (-100, 100),
    "presence_penalty": (-100, 100),
}
CONSTRAINTS = ("json_schema", "regex", "grammar")
WHEN = ("governed_after", "governed_from")


@dataclass(frozen=True, slots=True)
class Sampling:
    """Options of one request. BadInput names the one that is out of range.

    The logits of the model pass, in this order: repetition penalty, frequency and presence penalties, logit bias,
    temperature, top-k, top-p, min-p; then one token is drawn. (The order is that of transformers' logits processors;
    llama.cpp applies the temperature last.)

    max_tokens: tokens to generate at most; None: until the model ends its text or the context is full.
    temperature: 0 takes the likeliest token; above 0, logits are divided by it.
    top_k: only the k likeliest tokens, with all that tie with the k-th; 0: all (transformers' TopKLogitsWarper).
    top_p: the smallest set of likeliest tokens whose probabilities sum to at least top_p; 1: all (TopPLogitsWarper).
    min_p: only tokens at least min_p times as likely as the likeliest; 0: all (MinPLogitsWarper).
    repetition_penalty: logits of tokens in the prompt or the answer are divided by it if positive, else multiplied
        (CTRL, arXiv 1909.05858; over the whole context as in transformers, not llama.cpp's last 64 tokens); from 0.01
        up to 100, 1: off.
    frequency_penalty, presence_penalty: subtracted times the count of the token in the answer, and once if it occurs
        (OpenAI's API; the prompt does not count, as in vLLM); 0: off.
    logit_bias: token id -> number added to its logit (OpenAI's API).
    seed: the same seed gives the same text; None: a fresh one, told in the receipt.
    stop: the answer ends before the first of these strings.
    stop_ids: it ends with the first of these tokens, whose text is left out, as after the end-of-text token.
    logprobs: None, or how many of the likeliest tokens to report with each token's own log-probability. They are of
        the model's distribution, before penalties, bias, temperature and filters (OpenAI's API).
    ignore_eos: goes on past the end-of-text token.
    json_schema, regex, grammar: at most one of them: the answer is text that it allows and no other, and ends where
        nothing more can follow. A JSON schema is a dict, or True for any JSON object; properties come in the order of
        the schema, and a keyword that can't be enforced is refused (`divebell.engine.schema`). A regex matches the
        whole answer; its syntax is that of Rust's regex crate, without \\b, and \\d and \\w are ASCII. A grammar is
        Lark's EBNF, with rules from `start` (llguidance, docs/syntax.md), or llama.cpp's GBNF, with rules from `root`.
        Tokens that it does not allow are left out after the logit bias and before the temperature.
    governed_after: the text, such as "</think>", after which that begins; everything before it is free. None: from the
        first token on. A chat sets it where the model's prompt opens its reasoning.
    governed_from: the text that a grammar begins with, such as "<tool_call>": until it has come everything is free, and
        from there on the grammar rules, with this text as its beginning. White space in front of it may be missing.
        None: the grammar rules without it.
    prompt_logprobs: None, or how many of the likeliest tokens to report for each token of the prompt, with that
        token's own log-probability. They come out of the same pass that reads the prompt, so every token of it is
        computed, whatever an earlier request left in the cache. max_tokens may then be 0: nothing but the scores.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    logprobs: int | None = None
    ignore_eos: bool = False
    json_schema: Mapping[str, object] | bool | None = None
    regex: str | None = None
    grammar: str | None = None
    governed_after: str | None = None
    governed_from: str | None = None
    prompt_logprobs: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, object]) -> "Sampling":
        """From keyword arguments; an unknown one is refused by name. stop may be one string."""
        unknown = sorted(set(options) - {f.name for f in fields(cls)})
        if unknown:
            raise BadInput(f"{unknown[0]} is not an option; there are {', '.join(f.name for f in fields(cls))}")
        options = dict(options)
        if isinstance(options.get("stop"), str):
            options["stop"] = (options["stop"],)
        if options.get("stop") is None:
            options.pop("stop", None)
        if options.get("logit_bias") is None:
            options.pop("logit_bias", None)
        return cls(**options)

    def __post_init__(self):
        _check_integer("max_tokens", self.max_tokens, 1 if self.prompt_logprobs is None else 0, none=True)
        self._check_numbers()
        _check_integer("top_k", self.top_k, 0)
        _check_integer("seed", self.seed, 0, 2**64 - 1, none=True)
        _check_integer("logprobs", self.logprobs, 0, none=True)
        _check_integer("prompt_logprobs", self.prompt_logprobs, 0, none=True)
        _check_bias(self.logit_bias)
        _check_stops(self.stop)
        _check_stop_ids(self.stop_ids)
        if not isinstance(self.ignore_eos, bool):
            raise BadInput(f"ignore_eos is {self.ignore_eos!r}; it must be True or False")
        self._check_constraint()

    def _check_numbers(self) -> None:
        """They become float, whatever kind of number they are."""
        _check_number("top_p", self.top_p, 0, 1, above=True)
        for name, (least, most) in _RANGES.items():
            _check_number(name, getattr(self, name), least, most)
        for name in ("top_p", *_RANGES):
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def governs_at_once(self) -> bool:
        """Whether the constraint, if there is one, holds the first token too."""
        return self.governed_after is None and self.governed_from is None

    @property
    def constraint(self) -> tuple[str, object] | None:
        """The name and the value of the option that says which text is allowed, if there is one."""
        return next(((name, getattr(self, name)) for name in CONSTRAINTS if getattr(self, name) is not None), None)

    def _check_constraint(self) -> None:
        given = [name for name in CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise BadInput(f"{' and '.join(given)} are both given; an answer can follow only one of them")
        if given and self.ignore_eos:
            raise BadInput(f"ignore_eos is True, but an answer under a {given[0]} ends where that ends; leave one out")
        if self.json_schema is not None and self.json_schema is not True and not isinstance(self.json_schema, Mapping):
            raise BadInput(f"json_schema is {self.json_schema!r}; it must be a dict, or True for any JSON object")
        for name in ("regex", "grammar", *WHEN):
            _check_text(name, getattr(self, name))
        for name in WHEN:
            if getattr(self, name) is not None and not given:
                raise BadInput(f"{name} is given, but none of {', '.join(CONSTRAINTS)} that could begin there")

    def check_vocabulary(self, size: int) -> None:
        """BadInput for a bias or a stop outside the model's vocabulary, or more logprobs than it has tokens."""
        for name in ("logit_bias", "stop_ids"):
            for token in getattr(self, name):
                if not 0 <= token < size:
                    raise BadInput(f"{name} has token {token}; the vocabulary is 0 to {size - 1}")
        for name in ("logprobs", "prompt_logprobs"):
            if (count := getattr(self, name)) is not None and count > size:
                raise BadInput(f"{name} is {count}; the vocabulary has {size} tokens")


def _check_integer(name: str, value: object, least: int, most: int | None = None, none: bool = False) -> None:
    if none and value is None:
        return
    integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not integer or value < least or (most is not None and value > most):
        allowed = f"{least} or more" if most is None else f"{least} to {most}"
        raise BadInput(f"{name} is {value!r}; it must be an integer, {allowed}{', or left out' if none else ''}")


def _check_number(name: str, value: object, least: float, most: float, above: bool = False) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or value != value or value < least or value > most or (above and value == least):
        raise BadInput(f"{name} is {value!r}; it must be a number {'above' if above else 'from'} {least} up to {most}")


def _check_text(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise BadInput(f"{name} is {value!r}; it must be a string of at least one character, or left out")


def _check_bias(bias: object) -> None:
    if not isinstance(bias, Mapping):
        raise BadInput(f"logit_bias is {bias!r}; it must map token ids to numbers")
    for token, value in bias.items():
        _check_integer("a token of logit_bias", token, 0)
        _check_number(f"logit_bias of token {token}", value, -100, 100)


def _check_stop_ids(tokens: object) -> None:
    if isinstance(tokens, str | bytes) or not isinstance(tokens, Collection):
        raise BadInput(f"stop_ids is {tokens!r}; it must be a list of token ids")
    for token in tokens:
        _check_integer("a token of stop_ids", token, 0)


def _check_stops(stops: object) -> None:
    if not isinstance(stops, Sequence) or len(stops) > MAX_STOPS:
        raise BadInput(f"stop is {stops!r}; it must be a string or a list of at most {MAX_STOPS} strings")
    for text in stops:
        if not isinstance(text, str) or not text:
            raise BadInput(f"stop has {text!r}; each must be a string of at least one character")

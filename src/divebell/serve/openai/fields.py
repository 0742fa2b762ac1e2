"""Fields that chat completions and completions share."""

from typing import Annotated, Any, Literal

from pydantic import Field

from divebell.engine.sampling import CONSTRAINTS, LEAST_PENALTY
from divebell.serve.form import Form
from divebell.serve.limits import Limits
from divebell.serve.openai.structured import StructuredOutputs
from divebell.serve.refusal import Refusal

MOST_TOP_LOGPROBS = 20
_OURS = ("ignore_eos", "json_schema", "regex", "grammar")
_LARGEST = 1 << 64  # seeds are taken modulo this: OpenAI's are signed, divebell's are not


class StreamOptions(Form):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class Drawing(Form):
    """How many answers, and how their tokens are drawn. OpenAI's API does not have top_k, min_p, repetition_penalty,
    stop_token_ids, ignore_eos, json_schema, regex, grammar and structured_outputs; vLLM's has all but three of them.

    max_tokens: -1 is for as many as fit, as llama.cpp and LM Studio have it.
    """

    n: Annotated[int, Field(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Field(ge=-1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=LEAST_PENALTY, le=100)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=_LARGEST)] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=64)] | None = None
    ignore_eos: bool | None = None
    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    grammar: str | None = None
    structured_outputs: StructuredOutputs | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """Of options that the request has under other names: see `in_words_of`."""
        fields = {"json_schema": "json", "regex": "regex", "grammar": "grammar"} if self.structured_outputs else {}
        return {"stop_ids": "stop_token_ids"} | {name: f"structured_outputs.{own}" for name, own in fields.items()}

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def options(self, limits: Limits) -> dict[str, object]:
        """For `divebell.engine.sampling.Sampling`; only what the request has said, and the seed of the first answer."""
        if self.stream_options is not None and not self.stream:
            raise Refusal(400, "stream_options: only with stream=true", param="stream_options")
        same = ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
        options = {name: getattr(self, name) for name in (*same, *_OURS)}
        options["top_k"] = None if self.top_k is None else max(self.top_k, 0)
        options["seed"] = None if self.seed is None else self.seed % _LARGEST
        options["stop"] = self.stop if isinstance(self.stop, str) else tuple(self.stop or ()) or None
        options["stop_ids"] = tuple(self.stop_token_ids or ()) or None
        options["logit_bias"] = self._bias()
        asked = None if self.max_tokens == -1 else self.max_tokens
        options["max_tokens"] = limits.output_tokens(asked, "max_tokens")
        return {name: value for name, value in (options | self._held(options)).items() if value is not None}

    def _held(self, options: dict[str, object]) -> dict[str, object]:
        """What `structured_outputs` says, where nothing else says it."""
        other = next((name for name in CONSTRAINTS if options[name] is not None), None)
        if self.structured_outputs and other:
            message = f"structured_outputs: is given beside {other}; give one of them"
            raise Refusal(400, message, param="structured_outputs")
        return self.structured_outputs.option() if self.structured_outputs else {}

    def _bias(self) -> dict[int, float] | None:
        wrong = [key for key in self.logit_bias or () if not (key.isascii() and key.isdecimal() and len(key) < 10)]
        if wrong:
            raise Refusal(400, f"logit_bias: {wrong[0]!r:.80} is not a token id", param="logit_bias")
        return {int(token): bias for token, bias in self.logit_bias.items()} if self.logit_bias else None

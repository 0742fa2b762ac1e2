"""The request of /v1/completions."""

from typing import Annotated

from pydantic import Field

from divebell.serve.limits import Limits
from divebell.serve.openai.fields import MOST_TOP_LOGPROBS, Drawing
from divebell.serve.refusal import Refusal

TokenId = Annotated[int, Field(ge=0)]
MOST_PROMPTS = 128
DEFAULT_TOKENS = 16


class CompletionForm(Drawing):
    model: str
    prompt: str | list[str] | list[TokenId] | list[list[TokenId]]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None
    best_of: int | None = None
    suffix: str | None = None

    def prompts(self) -> list[str | list[int]]:
        """Each of them."""
        if self.suffix and self.echo:
            raise Refusal(400, "suffix: is given with echo=true; leave one of them out", param="suffix")
        single = isinstance(self.prompt, str) or (self.prompt and isinstance(self.prompt[0], int))
        prompts = [self.prompt] if single else self.prompt
        if not 1 <= len(prompts) <= MOST_PROMPTS:
            raise Refusal(400, f"prompt: has {len(prompts)} prompts; give 1 to {MOST_PROMPTS}", param="prompt")
        if self.suffix and not all(isinstance(prompt, str) for prompt in prompts):
            raise Refusal(400, "suffix: needs a prompt that is text, not token ids", param="suffix")
        return prompts

    def options(self, limits: Limits) -> dict[str, object]:
        if self.best_of is not None and self.best_of != (self.n or 1):
            message = f"best_of is {self.best_of}; only as many as n ({self.n or 1}) are supported"
            raise Refusal(400, message, param="best_of")
        most = limits.output_tokens(DEFAULT_TOKENS, "max_tokens") if self.max_tokens is None else None
        options = {"temperature": 1.0, "max_tokens": most} | super().options(limits)
        scored = self.echo and (self.logprobs is not None or self.max_tokens == 0)
        return options | {
            "logprobs": self.logprobs,
            "prompt_logprobs": (self.logprobs or 0) if scored else None,
        }

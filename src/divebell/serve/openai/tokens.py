"""/tokenize and /detokenize, as vLLM has them: how long a text or a conversation is, before it is sent."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from divebell.serve.admin import service_of
from divebell.serve.form import Form, StrictRoute
from divebell.serve.openai.chat_form import Message, conversation
from divebell.serve.openai.completions_form import TokenId
from divebell.serve.openai.templating import Templating
from divebell.serve.openai.tools import Tool, described
from divebell.serve.question import Question
from divebell.serve.record import record_of
from divebell.serve.refusal import Refusal
from divebell.serve.served import Offer

router = APIRouter(route_class=StrictRoute)


class TokenizeForm(Templating):
    """A prompt, or messages as a chat completion has them."""

    model: str
    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None

    def ids(self, served: Offer) -> list[int]:
        if (self.prompt is None) == (self.messages is None):
            raise Refusal(400, "prompt: give either it or messages", param="prompt")
        if self.messages is None:
            return served.llm.encode(self.prompt, self.add_special_tokens is not False)
        return self._question().prompt(served).ids

    def _question(self) -> Question:
        return Question(
            messages=conversation(self.messages),
            tools=[described(tool) for tool in self.tools or ()],
            thinking=self.wanted_thinking(),
            variables=self.variables,
            goes_on=self.goes_on(bool(getattr(self.messages[-1], "prefix", None))),
        )


class DetokenizeForm(Form):
    model: str
    tokens: list[TokenId]


@router.post("/tokenize")
async def tokenize(form: TokenizeForm, request: Request) -> dict[str, object]:
    """The tokens of a prompt, and how many fit."""
    served = service_of(request).model(form.model, record_of(request.scope))
    ids = await asyncio.to_thread(form.ids, served)
    texts = [served.llm.tokenizer.token_text(id) for id in ids] if form.return_token_strs else None
    return {"count": len(ids), "max_model_len": served.llm.context, "tokens": ids, "token_strs": texts}


@router.post("/detokenize")
async def detokenize(form: DetokenizeForm, request: Request) -> dict[str, str]:
    """The text of tokens."""
    served = service_of(request).model(form.model, record_of(request.scope))
    highest = max(form.tokens, default=0)
    if highest >= served.llm.vocabulary:
        message = f"tokens: {highest} is not in the vocabulary, which is 0 to {served.llm.vocabulary - 1}"
        raise Refusal(400, message, param="tokens")
    return {"prompt": await asyncio.to_thread(served.llm.tokenizer.decode, form.tokens, skip_special_tokens=False)}

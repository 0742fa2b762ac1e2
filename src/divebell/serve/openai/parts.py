"""Parts of an assistant's content that both of OpenAI's APIs for chats have."""

from typing import Literal

from divebell.serve.form import Form


class RefusalPart(Form):
    """What a model at OpenAI would not do, in its own words: for the next model, text like any other."""

    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal

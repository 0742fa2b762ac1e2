"""Requests as pydantic sees them: every field is known, or refused by name."""

from typing import Annotated, Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from divebell.serve.refusal import Refusal

ABSENT = "Not supported: may be left out or null."
Absent = Annotated[None, Field(description=ABSENT)]

T = TypeVar("T")


class Form(BaseModel):
    """A request or a part of one. Fields of type `Absent` are those of the protocol that are not supported."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class Lenient(BaseModel):
    """A part of a request whose fields are nobody's business here."""

    model_config = ConfigDict(extra="allow")


class StrictRequest(Request):
    """Bodies are JSON: no NaN, no halves of surrogate pairs, not endlessly nested."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as problem:
            raise Refusal(400, f"the body is not JSON: {problem}") from None


class StrictRoute(APIRoute):
    """A route whose requests are StrictRequests."""

    def get_route_handler(self):
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strict

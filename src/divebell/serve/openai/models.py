"""/v1/models."""

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import APIRouter, Request

from divebell.serve.admin import service_of
from divebell.serve.record import record_of
from divebell.serve.served import Offer

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, object]:
    """All that are served; in Anthropic's words for a client that sends `anthropic-version`."""
    form = _form(request)
    listed = [form(offer) for offer in service_of(request).offers.values()]
    if form is told:
        return {"object": "list", "data": listed}
    return {"data": listed, "has_more": False, "first_id": listed[0]["id"], "last_id": listed[-1]["id"]}


@router.get("/v1/models/{name:path}")
async def model(name: str, request: Request) -> dict[str, object]:
    """One of them."""
    return _form(request)(service_of(request).model(name, record_of(request.scope)))


def _form(request: Request) -> Callable[[Offer], dict[str, object]]:
    return _anthropic if "anthropic-version" in request.headers else told


def _anthropic(offer: Offer) -> dict[str, object]:
    created = datetime.fromtimestamp(offer.created, UTC).isoformat()
    return {"type": "model", "id": offer.name, "display_name": offer.name, "created_at": created}


def told(offer: Offer) -> dict[str, object]:
    """max_model_len: tokens that a prompt and its answer may have together; parent: the model that an adapter changes;
    both under the names that vLLM gives them."""
    return {
        "id": offer.name,
        "object": "model",
        "created": offer.created,
        "owned_by": "divebell",
        "max_model_len": offer.llm.context,
        "parent": offer.parent,
    }

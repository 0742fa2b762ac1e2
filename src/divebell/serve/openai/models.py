"""/v1/models."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request

from divebell.serve.admin import service_of
from divebell.serve.record import record_of
from divebell.serve.served import Offer

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, object]:
    """All that are served; in Anthropic's words for a client that sends `anthropic-version`."""
    told = [_told(served, request) for served in service_of(request).offers.values()]
    if not _is_anthropic(request):
        return {"object": "list", "data": told}
    return {"data": told, "has_more": False, "first_id": told[0]["id"], "last_id": told[-1]["id"]}


@router.get("/v1/models/{name:path}")
async def model(name: str, request: Request) -> dict[str, object]:
    """One of them."""
    return _told(service_of(request).model(name, record_of(request.scope)), request)


def _is_anthropic(request: Request) -> bool:
    return "anthropic-version" in request.headers


def _told(served: Offer, request: Request) -> dict[str, object]:
    """max_model_len: tokens that a prompt and its answer may have together, under the name that vLLM gives it."""
    if _is_anthropic(request):
        created = datetime.fromtimestamp(served.created, UTC).isoformat()
        return {"type": "model", "id": served.name, "display_name": served.name, "created_at": created}
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "divebell",
        "max_model_len": served.llm.context,
    }

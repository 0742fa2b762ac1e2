"""/v1/load_lora_adapter and /v1/unload_lora_adapter, as clients of vLLM know them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from divebell.serve.admin import service_of
from divebell.serve.form import Absent, Form, StrictRoute
from divebell.serve.openai.models import told
from divebell.serve.record import record_of
from divebell.serve.refusal import Refusal
from divebell.serve.shelf import CLOSED, Shelf

router = APIRouter(route_class=StrictRoute)


class LoadForm(Form):
    """lora_path: within the folder of --adapters, or absolute. base_model_name: where several models are served."""

    lora_name: Annotated[str, Field(min_length=1)]
    lora_path: Annotated[str, Field(min_length=1)]
    base_model_name: str | None = None
    load_inplace: Literal[False] | None = None


class UnloadForm(Form):
    lora_name: Annotated[str, Field(min_length=1)]
    lora_int_id: Absent = None


@router.post("/v1/load_lora_adapter")
async def load(form: LoadForm, request: Request) -> dict[str, object]:
    """Loads an adapter beside a model's weights; from then on requests may ask for it as for a model."""
    shelf, service = _shelf(request), service_of(request)
    offer = await shelf.load(service, form.lora_name, form.lora_path, form.base_model_name)
    record_of(request.scope).model = offer.name
    return told(offer)


@router.post("/v1/unload_lora_adapter")
async def unload(form: UnloadForm, request: Request) -> dict[str, object]:
    """Drops an adapter: requests that have begun end with it, no further one may ask for it."""
    await _shelf(request).drop(service_of(request), form.lora_name)
    record_of(request.scope).model = form.lora_name
    return {"id": form.lora_name, "object": "model", "deleted": True}


def _shelf(request: Request) -> Shelf:
    shelf = request.app.state.shelf
    if shelf is None:
        raise Refusal(403, CLOSED, code="no_adapters")
    shelf.check(record_of(request.scope).key)
    return shelf

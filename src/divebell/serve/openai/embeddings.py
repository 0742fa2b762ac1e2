"""/v1/embeddings: refused by name."""

from fastapi import APIRouter

from divebell.serve.refusal import Refusal

router = APIRouter()
MESSAGE = (
    "/v1/embeddings is not served: these models write text and have no head for embeddings: their pooled states "
    "would be poor ones; use a model that was trained for it"
)


@router.post("/v1/embeddings")
async def embeddings() -> None:
    """Always refused."""
    raise Refusal(400, MESSAGE, code="unsupported")

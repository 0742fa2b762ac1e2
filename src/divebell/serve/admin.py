"""For supervisors and dashboards: /health and /metrics."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from divebell.serve.service import Service

router = APIRouter()


def service_of(request: Request) -> Service:
    return request.app.state.service


@router.get("/health")
async def health(request: Request) -> Response:
    """200 while requests are taken, 503 from when the server was told to stop."""
    service = service_of(request)
    state = {"status": "draining" if service.draining else "ok", "models": list(service.offers)}
    return JSONResponse(state, 503 if service.draining else 200)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Figures in Prometheus's text format."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)

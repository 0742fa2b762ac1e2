"""Requests made from the OpenAPI document, well-formed and not: none of them is ever our error."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.errors import InvalidSchema

EXAMPLES = 40
ASKING = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"),
    *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/tokenize", "/detokenize"),
)
SHORT = {"max_tokens": 3, "max_completion_tokens": 3, "max_output_tokens": 3}


def document(server):
    return httpx.get(f"{server.url}/openapi.json").json()


def test_the_document_names_every_path(server):
    paths = document(server)["paths"]
    assert set(ASKING) <= set(paths)
    assert {"/health", "/metrics", "/v1/models", "/v1/models/{name}", "/v1/embeddings"} <= set(paths)


@st.composite
def cases(draw, operation, mode):
    """Requests; some ways of breaking a schema leave nothing that could be made, which is found out on the way."""
    try:
        return draw(operation.as_strategy(generation_mode=mode))
    except InvalidSchema:
        reject()


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", ASKING)
def test_no_request_is_our_error(server, path, mode):
    operation = schemathesis.openapi.from_dict(document(server))[path]["POST"]
    seen = set()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(cases(operation, mode))
    def ask(case):
        if isinstance(body := case.body, dict):
            wanted = {name: count for name, count in SHORT.items() if isinstance(body.get(name), int)}
            case.body = body | wanted | ({"model": "small"} if isinstance(body.get("model"), str) else {})
        answer = case.call(base_url=server.url)
        assert answer.status_code < 500, answer.text
        assert "an error of ours" not in answer.text
        seen.add(answer.status_code)

    ask()
    assert 400 in seen or mode is GenerationMode.POSITIVE
    server.check_idle()

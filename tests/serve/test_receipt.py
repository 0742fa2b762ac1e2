"""Each protocol's answers say what they cost."""

import json

import httpx
import pytest

CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
ASKED = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "small", "prompt": ["a", "b"], "max_tokens": 4},
    "/v1/responses": {"model": "small", "input": "Hi", "max_output_tokens": 16},
    "/v1/messages": CHAT,
}


@pytest.mark.parametrize("path", ASKED)
def test_a_whole_answer_has_a_receipt_and_headers(server, path):
    response = httpx.post(server.url + path, json=ASKED[path], timeout=60)
    receipt = response.json()["receipt"]
    assert receipt["joules"] > 0
    assert float(response.headers["x-divebell-joules"]) == pytest.approx(receipt["joules"], rel=1e-4)
    assert {"grams_co2", "marginal_dollars", "all_in_dollars", "method", "files", "api_dollars"} <= set(receipt)


@pytest.mark.parametrize("path", ASKED)
def test_a_stream_ends_with_a_receipt(server, path):
    asked = ASKED[path] | {"stream": True}
    if "completions" in path:
        asked["stream_options"] = {"include_usage": True}
    text = httpx.post(server.url + path, json=asked, timeout=60).text
    frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    told = [frame.get("receipt") or frame.get("response", {}).get("receipt") for frame in frames]
    assert [receipt["joules"] > 0 for receipt in told if receipt] == [True]


def test_what_answers_nothing_has_no_receipt(server):
    assert "x-divebell-joules" not in httpx.get(f"{server.url}/v1/models").headers

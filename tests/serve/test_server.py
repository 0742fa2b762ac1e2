import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import httpx
import openai
import pytest
from openai import OpenAI
from servers import running, service_of, slow

from divebell.errors import BadInput
from divebell.serve.keys import Keys
from divebell.serve.limits import Limits
from divebell.serve.server import check_reach, listen

ENDLESS = {
    "model": "small",
    "messages": [{"role": "user", "content": "Go on"}],
    "extra_body": {"ignore_eos": True},
    "stream": True,
}


def client_of(server):
    return OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def begin(client, **more):
    """A stream that goes on, past its first token."""
    stream = client.chat.completions.create(**ENDLESS | more)
    for _ in range(3):
        next(stream)
    return stream


def small(folder, **limits):
    return running(slow(service_of({"small": folder}, limits=Limits(**limits))))


def test_a_client_that_goes_frees_its_memory(server):
    llm = server.service.models["small"].llm
    with client_of(server) as client:
        stream = begin(client)
        assert llm.engine.busy
        stream.close()
        server.check_idle()


def test_one_that_waits_for_a_whole_answer_too(server):
    llm = server.service.models["small"].llm
    whole = {key: value for key, value in ENDLESS.items() if key not in ("stream", "extra_body")}
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{server.url}/v1/chat/completions", json=whole | {"ignore_eos": True}, timeout=0.2)
    server.check_idle()
    assert not llm.engine.busy
    server.wait_until(lambda: server.lines()[-1]["status"] == 499)


def test_clients_are_the_first_to_give_up_an_idle_connection(server):
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    for pause in (5.5, 0):  # httpx gives up its own after 5 s
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        time.sleep(pause)
    connection.close()


def test_python_and_the_server_share_one_engine(server):
    llm = server.service.models["small"].llm
    alone = llm.generate("Side by side", max_tokens=20)
    with client_of(server) as client:
        stream = begin(client)
        assert llm.generate("Side by side", max_tokens=20).token_ids == alone.token_ids
        next(stream)
        stream.close()
    server.check_idle()


def test_a_full_queue_is_told_to_come_again(folder):
    with small(folder, queue=2) as server, client_of(server) as client:
        streams = [begin(client), begin(client)]
        with pytest.raises(openai.RateLimitError) as caught:
            begin(client)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
        assert "--max-queue" in caught.value.body["message"]
        streams.pop().close()
        server.wait_until(lambda: server.service.models["small"].present == 1)
        begin(client).close()
        streams.pop().close()


def test_a_request_that_takes_too_long_is_ended(folder):
    whole = {key: value for key, value in ENDLESS.items() if key != "stream"}
    with small(folder, seconds=1) as server, client_of(server) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.with_options(max_retries=2).chat.completions.create(**whole)
        assert caught.value.status_code == 503
        assert "--time-limit" in caught.value.body["message"]
        with pytest.raises(openai.APIError, match="--time-limit"):
            list(begin(client))
        server.wait_until(lambda: len(server.lines()) == 2)
        assert [line["status"] for line in server.lines()] == [503, 503], "each once"
        assert 'path="/v1/chat/completions",status="503"} 2.0' in httpx.get(f"{server.url}/metrics").text


def test_prompts_and_answers_have_limits(folder):
    with small(folder, prompt=30, output=5) as server, client_of(server) as client:
        ask = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "extra_body": {"ignore_eos": True}}
        assert client.chat.completions.create(**ask).usage.completion_tokens == 5
        with pytest.raises(openai.BadRequestError, match=r"max_tokens is 6; this server allows 5 at most"):
            client.chat.completions.create(**ask, max_tokens=6)
        with pytest.raises(openai.BadRequestError, match=r"this server takes 30 at most \(--max-prompt\)"):
            client.chat.completions.create(**ask | {"messages": [{"role": "user", "content": "Hi" * 100}]})


def test_a_stop_lets_requests_end_and_takes_no_more(folder):
    with small(folder) as server, client_of(server) as client:
        stream = begin(client, max_tokens=300)
        server.drain()
        assert httpx.get(f"{server.url}/health").status_code == 503
        with pytest.raises(openai.InternalServerError) as caught:
            begin(client)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "5"
        assert list(stream)[-1].choices[0].finish_reason == "length"
        server.wait_until(lambda: server.server.should_exit)


def test_what_outlasts_the_grace_time_is_refused(folder):
    whole = {key: value for key, value in ENDLESS.items() if key != "stream"}
    with small(folder, grace=0.2) as server, client_of(server) as client, ThreadPoolExecutor() as pool:
        stream, asked = begin(client), pool.submit(client.chat.completions.create, **whole)
        server.wait_until(lambda: server.service.in_flight == 2)
        server.drain()
        with pytest.raises(openai.APIError, match="the server is stopping; try again later"):
            list(stream)
        with pytest.raises(openai.InternalServerError, match="the server is stopping; try again later") as caught:
            asked.result()
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "5"
        server.wait_until(lambda: [line["status"] for line in server.lines()] == [503, 503])


def test_a_second_signal_does_not_wait(folder):
    with small(folder) as server, client_of(server) as client:
        stream = begin(client)
        server.drain()
        server.drain()
        with pytest.raises(openai.APIError, match="the server is stopping"):
            list(stream)


def test_what_begins_after_the_grace_time_is_refused_too(folder):
    with running(service_of({"small": folder})) as server, client_of(server) as client:
        server.service.cut_off()
        with pytest.raises(openai.InternalServerError, match="the server is stopping"):
            client.completions.create(model="small", prompt="x")


def test_the_last_resort_speaks_the_protocol_too(folder, monkeypatch):
    monkeypatch.setattr("divebell.serve.server.LAST_WORDS", 0.1)
    monkeypatch.setattr("divebell.serve.service.Service.cut_off", lambda service: None)
    whole = {key: value for key, value in ENDLESS.items() if key != "stream"}
    with small(folder, grace=0.1) as server, client_of(server) as client, ThreadPoolExecutor() as pool:
        asked = pool.submit(client.chat.completions.create, **whole)
        server.wait_until(lambda: server.service.models["small"].present == 1)
        server.drain()
        with pytest.raises(openai.InternalServerError, match="the server is stopping"):
            asked.result()
        server.wait_until(lambda: [line["status"] for line in server.lines()] == [503])


def test_two_models_answer_at_the_same_time(server):
    with client_of(server) as client:
        stream = begin(client)
        answer = client.completions.create(model="base", prompt="x", max_tokens=5, extra_body={"ignore_eos": True})
        assert answer.usage.completion_tokens == 5
        next(stream)
        stream.close()
    server.check_idle()


def test_many_at_once_answer_as_one_alone(server):
    alone, together = {}, {}

    def ask(number, answers):
        with client_of(server) as client:
            prompt = f"Number {number}: " + "x" * number
            answer = client.completions.create(model="small", prompt=prompt, max_tokens=20, temperature=0)
            answers[number] = answer.choices[0].text

    for number in range(12):
        ask(number, alone)
    threads = [threading.Thread(target=ask, args=(number, together)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_damaged_model_is_our_error(folder, caplog):
    with small(folder) as server, client_of(server) as client:
        model = server.service.models["small"].llm.engine._core.model
        model.step, forward = lambda *_: 1 / 0, model.step
        with pytest.raises(openai.InternalServerError, match="an error of ours"):
            client.completions.create(model="small", prompt="x")
        with pytest.raises(openai.APIError, match="an error of ours"):
            list(client.chat.completions.create(**ENDLESS))
        model.step = forward
        assert client.completions.create(model="small", prompt="x").choices
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "box.example"])
def test_others_reach_it_only_with_a_key(host):
    check_reach(host, Keys({"anna": "sk-anna-1234"}))
    with pytest.raises(BadInput, match=f"host is {host}, which other machines can reach"):
        check_reach(host, Keys({}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_who_is_on_the_machine_needs_none(host):
    check_reach(host, Keys({}))


def test_an_address_that_is_taken_is_named(server):
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(BadInput, match=f"can't listen on .*, port {port}"):
        listen("127.0.0.1", port)
    with pytest.raises(BadInput, match="port is 99999; it must be 0 to 65535"):
        listen("127.0.0.1", 99999)

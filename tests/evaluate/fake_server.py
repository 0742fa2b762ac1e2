"""A server that speaks OpenAI's protocol and answers wrongly when it is told to."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fake:
    """faults: what the next requests get instead of an answer: (status, headers, body), or a function of the handler.

    refuse: what a request gets for its body instead of an answer, or None. asked: the path, headers and body of each.
    """

    def __init__(self, answer=lambda body: "The answer is 4"):
        self.answer, self.faults, self.asked, self.models = answer, [], [], ["fake"]
        self.refuse = lambda body: None
        self.url = ""

    def reply(self, path: str, body: dict) -> dict:
        if path == "/v1/models":
            return {"data": [{"id": name} for name in self.models]}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}}
        if path == "/v1/chat/completions":
            choices = [{"index": 0, "message": {"role": "assistant", "content": self.answer(body)}}]
        elif body.get("echo"):
            choices = [echoed(index, prompt) for index, prompt in enumerate(body["prompt"])]
        else:
            choices = [{"index": 0, "text": self.answer(body)}]
        return {"choices": choices, "usage": usage}


def echoed(index: int, text: str) -> dict:
    """Each letter a token; B is the likeliest of all letters, and the only one that is."""
    logprobs = [None] + [-0.5 if letter == "B" else -2.0 for letter in text[1:]]
    tops = [None] + [{"B": -0.5} for _ in text[1:]]
    told = {
        "tokens": list(text),
        "token_logprobs": logprobs,
        "top_logprobs": tops,
        "text_offset": list(range(len(text))),
    }
    return {"index": index, "text": text, "logprobs": told, "finish_reason": "length"}


@contextmanager
def serving(fake: Fake):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.do_POST()

        def do_POST(self):
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.loads(raw) if raw else {}
            fake.asked.append((self.path, dict(self.headers), body))
            fault = fake.faults.pop(0) if fake.faults else fake.refuse(body)
            if callable(fault):
                fault(self)
            else:
                self.send(*(fault or (200, {}, json.dumps(fake.reply(self.path, body)).encode())))

        def send(self, status: int, headers: dict, body: bytes) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            """Clients leave early."""

    with Server(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()

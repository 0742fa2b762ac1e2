"""A server in the test's own process, and small models for it."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import divebell
from divebell.models.synth import plan, synth
from divebell.serve import job
from divebell.serve.keys import Keys
from divebell.serve.limits import Limits
from divebell.serve.server import Server, listen, url
from divebell.serve.service import Service
from divebell.serve.shelf import Shelf

CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 512,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 510,
    "eos_token_id": 511,
}
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.reasoning_content %}({{ m.reasoning_content }})"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)

GO_ON = {"prompt": "Once upon", "temperature": 0, "max_tokens": 12}


def small_model(folder: Path, seed: int = 1, template: str | None = TEMPLATE) -> Path:
    """A folder with random weights and a vocabulary that encodes every text."""
    synth(plan(CONFIG, "f32", True), folder, seed)
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def service_of(models: dict[str, Path], keys: dict | None = None, limits: Limits | None = None, **more) -> Service:
    service = Service(Keys(keys or {}), limits or Limits(), **more)
    for name, folder in models.items():
        service.add(name, divebell.load(folder, ram="700MB", context=4096))
    return service


def adapter(folder, seed):
    """A folder in peft's format, of a strength that is seen in the answer."""
    rng, width, rank = np.random.default_rng(seed), CONFIG["hidden_size"], 4
    tensors = {}
    for layer in range(CONFIG["num_hidden_layers"]):
        place = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{place}.lora_A.weight"] = rng.standard_normal((rank, width), np.float32)
        tensors[f"{place}.lora_B.weight"] = rng.standard_normal((width, rank), np.float32)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def text(response):
    choice = response.raise_for_status().json()["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


def slow(service: Service) -> Service:
    """A step takes some time, as a large model's does."""
    for served in service.models.values():
        model = served.llm.engine._core.model
        model.step = lambda *arguments, step=model.step: time.sleep(0.004) or step(*arguments)
    return service


def silent(monkeypatch, llm) -> None:
    """A step takes some time, and while it runs there are silences."""
    model = llm.engine._core.model
    step = model.step
    monkeypatch.setattr(model, "step", lambda *arguments: time.sleep(0.01) or step(*arguments))
    monkeypatch.setattr(job, "SILENCE", 0)


class Running:
    """url: where it listens. log: its access log."""

    def __init__(self, service: Service, shelf: Shelf | None = None):
        self.service, self.log = service, io.StringIO()
        self._place = listen("127.0.0.1", 0)
        self.url = url(self._place)
        self.server = Server(service, self.log, shelf)
        self._thread = threading.Thread(target=self.server.run, args=([self._place],))

    def start(self) -> None:
        self._thread.start()
        while not self.server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join()
        self._place.close()

    def lines(self) -> list[dict]:
        """The access log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def drain(self) -> None:
        """As a signal does, which only a main thread gets."""
        self.server.handle_exit(15, None)

    def wait_until(self, condition, seconds: float = 20.0) -> None:
        """Until something is so in the server, which does its work in threads of its own."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it has not come about"
            time.sleep(0.01)

    def check_idle(self) -> None:
        """All requests have ended, and no page of the cache is lost."""
        for served in self.service.models.values():
            self.wait_until(lambda served=served: not served.llm.engine.busy and not served.present)
            served.llm.engine.check_integrity()


@contextmanager
def running(service: Service, shelf: Shelf | None = None) -> Iterator[Running]:
    with service:
        one = Running(service, shelf)
        one.start()
        try:
            yield one
            one.check_idle()
        finally:
            one.stop()


def together(*coroutines):
    """Their results, run at the same time."""

    async def all_of_them():
        return await asyncio.gather(*coroutines)

    return asyncio.run(all_of_them())

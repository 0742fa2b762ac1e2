"""The short form of the run that takes hours."""

import asyncio
import json

import pytest
from servers import small_model

import soak
from soak_clients import Client, Soak
from soak_garbage import BODY_LIMIT
from soak_server import Sample, Server, growth

ROUND = 400  # requests
ROUNDS = 12
SETTLED = 8  # rounds, after which all that is kept is there: compiled grammars, pages of the cache, the allocator's own
STEPS = 16 << 20  # bytes: what a round has more than another, 3 to 10 MB on a busy machine


@pytest.mark.slow
def test_mixed_load_with_restarts_gives_no_wrong_answer(tmp_path):
    folder, told = small_model(tmp_path / "small"), tmp_path / "summary.json"
    options = ["--minutes", "0.75", "--clients", "8", "--ram", "700MB", "--context", "1536", "--limit", "60"]
    code = soak.main([*options, "--model", str(folder), "--json", str(told)])
    summary = json.loads(told.read_text())
    assert (code, summary["failures"]) == (0, [])
    assert sorted(line.split()[1] for line in summary["interruptions"]) == ["SIGKILL", "SIGTERM"]
    assert all(summary[name] for name in ("answered", "compared", "cancelled", "garbage", "valid", "calls"))


async def floors(model, folder):
    """The least memory that a server had in each of several rounds of mixed load: garbage, cancelled, all kinds."""
    limits = ("--ram", "700MB", "--context", "1536", "--weights", "f32", "--max-body", str(BODY_LIMIT))
    server = Server([f"soak={model}", *limits], 60, folder)
    run = Soak(server, 1, 1536, 60)
    try:
        await server.start()
        server.ready.set()
        clients = [asyncio.create_task(Client(run, number).run()) for number in range(8)]
        found = [await floor(server, run, number * ROUND) for number in range(1, ROUNDS + 1)]
        run.over.set()
        await asyncio.gather(*clients)
        await run.http.aclose()
    finally:
        server.end()
    assert run.failures == []
    return found


async def floor(server, run, requests):
    seen = len(server.lives[-1])
    while run.counts["requests"] < requests:
        await asyncio.sleep(0.1)
        server.sample_memory()
    return min(sample.memory for sample in server.lives[-1][seen:])


@pytest.mark.slow
def test_memory_grows_with_what_is_there_not_with_what_was_asked(tmp_path):
    """Counted in requests, so that it means the same on a slow machine."""
    found = asyncio.run(floors(small_model(tmp_path / "small"), tmp_path))
    assert found[-1] <= found[SETTLED - 1] + STEPS, found


def life(*megabytes):
    return [Sample(60.0 + 10 * n, number * 10**6) for n, number in enumerate(megabytes)]


def test_memory_may_grow_in_the_first_minutes_only():
    assert growth(life(*range(100, 700, 100), *[600] * 12)) is None
    assert growth(life(*[600] * 6, *range(600, 900, 20))) == "the server's memory grew from 640 to 840 MB"
    assert growth(life(100, 200, 300)) is None

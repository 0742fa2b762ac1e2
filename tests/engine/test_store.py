import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from fakes import answer, continuation, core_of, generation, run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from test_prefix import RequestsAgainstNoCache

from divebell.engine.cache import PAGE, Cache
from divebell.engine.page_folder import files
from divebell.engine.store import Store

LAYOUT = ({"k": 8, "v": 4}, {"latent": 6})
TOKENS = tuple(range(PAGE))


def cache_of(dtype=np.float32) -> Cache:
    cache = Cache(LAYOUT, dtype, 4)
    for layer in cache.layers:
        for pages in layer.values():
            pages[:] = np.random.default_rng(1).integers(0, 200, pages.shape).astype(dtype)
    return cache


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.float16])
def test_a_page_comes_back_bit_for_bit(tmp_path, dtype):
    cache = cache_of(dtype)
    store = Store(tmp_path, {"model": "a"}, cache)
    store.save(store.root, TOKENS, 1)
    store.close()
    empty = Cache(LAYOUT, dtype, 4)
    again = Store(tmp_path, {"model": "a"}, empty)
    ((key, tokens),) = again.following(again.root)
    assert tokens == TOKENS
    assert again.has(again.root, TOKENS)
    assert again.load(again.root, key, 3) == TOKENS
    assert empty.read(3) == cache.read(1)


def test_pages_of_another_model_are_not_seen(tmp_path):
    cache = cache_of()
    store = Store(tmp_path, {"model": "a"}, cache)
    store.save(store.root, TOKENS, 1)
    store.close()
    other = Store(tmp_path, {"model": "b"}, cache)
    assert not other.has(other.root, TOKENS)
    ours = next(files(tmp_path)).path
    stolen = tmp_path / other.root.hex() / ours.name.replace(store.root.hex(), other.root.hex())
    shutil.copy(ours, stolen)
    other = Store(tmp_path, {"model": "b"}, cache)
    ((key, _),) = other.following(other.root)
    assert other.load(other.root, key, 0) is None
    assert not stolen.exists()


def damaged(data: bytes, how: int, place: int) -> bytes:
    if how == 0:
        return data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
    return data[:place] if how == 1 else data + data[: place + 1]


@pytest.mark.parametrize("how", [0, 1, 2])
def test_a_damaged_page_is_never_used_but_deleted(tmp_path, how):
    cache = cache_of()
    store = Store(tmp_path, {"model": "a"}, cache)
    store.save(store.root, TOKENS, 1)
    store.close()
    path = next(files(tmp_path)).path
    good, before = path.read_bytes(), cache.read(0)
    chosen = random.Random(how)
    for _ in range(150):
        path.write_bytes(damaged(good, how, chosen.randrange(len(good))))
        again = Store(tmp_path, {"model": "a"}, cache)
        (key,) = again._after[again.root]
        assert again.load(again.root, key, 0) is None
        assert not path.exists()
        assert not again.has(again.root, TOKENS)
    assert cache.read(0) == before


def test_what_others_have_deleted_is_computed_again_and_what_was_cleared_is_written_again(tmp_path):
    core = core_of(folder=tmp_path)
    run(core, generation([5] * 200, 1))
    core.close()
    second = core_of(folder=tmp_path)
    for file in files(tmp_path):
        file.path.unlink()
    shutil.rmtree(tmp_path)
    sequence = generation([5] * 200, 1)
    run(second, sequence)
    assert (sequence.reused, answer(sequence)) == (0, continuation([5] * 200, 1))
    second.close()
    assert len(list(files(tmp_path))) == 4


def test_the_limit_holds(tmp_path):
    page = core_of().cache.page_bytes
    core = core_of(folder=tmp_path, limit=10 * page)
    for n in range(30):
        run(core, generation([n] * 130, 1))
    core.close()
    assert 0 < sum(file.bytes for file in files(tmp_path)) <= 10 * page
    again = core_of(folder=tmp_path)
    latest = generation([29] * 130, 1)
    run(again, latest)
    assert latest.reused == 129


def test_several_stores_on_one_folder(tmp_path):
    def serve(seed: int) -> list[bool]:
        right = []
        for restart in range(4):
            core = core_of(pages=6, folder=tmp_path, limit=40 * core_of().cache.page_bytes)
            for turn in range(6):
                prompt = [(seed * restart) % 3] * 64 + [turn % 4] * 90
                sequence = generation(prompt, 3)
                run(core, sequence)
                right.append(answer(sequence) == continuation(prompt, 3))
            core.close()
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(all(right) for right in pool.map(serve, range(4)))


def test_what_has_no_room_in_memory_comes_back_from_disk(tmp_path):
    core = core_of(pages=4, folder=tmp_path)
    run(core, generation([5] * 200, 2))
    run(core, generation([6] * 200, 2))
    core.tree._store._writer.close()
    again = generation([5] * 200, 2)
    run(core, again)
    assert again.reused == 199
    assert answer(again) == continuation([5] * 200, 2)


@pytest.mark.parametrize("same", [1, 63, 64, 100, 150])
def test_a_restart_forgets_nothing(tmp_path, same):
    core = core_of(folder=tmp_path)
    run(core, generation([5] * 150 + [4] * 10, 1))
    core.close()
    branch = generation([5] * same + [6] * 30, 3)
    run(core_of(folder=tmp_path), branch)
    assert branch.reused == same
    assert answer(branch) == continuation([5] * same + [6] * 30, 3)


def test_pages_come_a_few_at_a_time_beside_those_that_decode(tmp_path):
    core = core_of(folder=tmp_path)
    run(core, generation([5] * 64 * 20, 1))
    core.close()
    core = core_of(folder=tmp_path)
    talking, restored = generation([1], 50), generation([5] * 64 * 20, 1)
    core.submit(talking)
    core.step()
    core.submit(restored)
    for tokens in (2, 3):
        core.step()
        core.check_integrity()
        assert len(answer(talking)) == tokens
        assert not restored.settled
    while not restored.finished:
        core.step()
    assert restored.reused == 64 * 20 - 1


def test_a_disk_that_is_full_is_told_once_and_changes_nothing(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("divebell.engine.store.write", full)
    core = core_of(pages=4, folder=tmp_path)
    for n in range(10):
        sequence = generation([n] * 200, 2)
        run(core, sequence)
        assert answer(sequence) == continuation([n] * 200, 2)
    core.close()
    assert [record.getMessage() for record in caplog.records] == [
        "pages can't be kept on disk: [Errno 28] No space left on device"
    ]


class RequestsWithDisk(RequestsAgainstNoCache):
    """Few pages, restarts, and files that are damaged or gone."""

    def __init__(self):
        self.folder = Path(mkdtemp())
        super().__init__()
        self._start()

    def _start(self):
        self.core = core_of(self.PAGES, self.folder)

    @rule()
    def restart(self):
        for sequence in self.alive:
            self.histories.append(list(sequence.ids))
        self.alive = []
        self.core.close()
        self.core.check_integrity()
        self._start()

    @precondition(lambda self: any(files(self.folder)))
    @rule(data=st.data(), how=st.integers(0, 3))
    def damage(self, data, how):
        path = data.draw(st.sampled_from(sorted(file.path for file in files(self.folder))))
        content = path.read_bytes()
        if how == 3:
            path.unlink()
        elif content:
            path.write_bytes(damaged(content, how, data.draw(st.integers(0, len(content) - 1))))

    def teardown(self):
        super().teardown()
        self.core.close()
        shutil.rmtree(self.folder)


RequestsWithDisk.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestRequestsWithDisk = RequestsWithDisk.TestCase

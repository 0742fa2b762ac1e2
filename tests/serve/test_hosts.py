from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from divebell.serve.hosts import is_expected

NAMES = {"localhost", "box.example"}
PORTS = st.one_of(st.just(""), st.integers(0, 65535).map(":{}".format))
ADDRESSES = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map("[{}]".format))
EXPECTED = st.one_of(st.sampled_from(["localhost", "LocalHost", "box.example"]), ADDRESSES)


@given(EXPECTED, PORTS)
def test_names_and_addresses_with_and_without_a_port(host, port):
    assert is_expected(host + port, NAMES)


@given(EXPECTED, PORTS, st.data())
def test_nothing_may_stand_beside_them(host, port, data):
    text = host + port
    place = data.draw(st.integers(0, len(text)))
    changed = (
        text[:place] + data.draw(st.sampled_from(["[", "]", "@", "/", " ", "evil.", "#", "?", "%"])) + text[place:]
    )
    assert not is_expected(changed, NAMES)


@given(st.text("[]:.@%/0123456789afLl hostx", max_size=24))
@example("[::1")
@example("::1]")
@example("[::1]evil.example")
@example("[localhost]")
@example("[127.0.0.1]")
@example("127.0.0.1:80:80")
@example("127.0.0.1:evil")
@example(":80")
def test_what_is_taken_is_what_a_url_parser_reads(text):
    if is_expected(text, NAMES):
        parts = urlsplit(f"//{text}")
        assert parts.netloc == text
        assert parts.username is None
        kind = IPv6Address if text.startswith("[") else IPv4Address
        assert parts.hostname in NAMES or kind(parts.hostname)


@pytest.mark.parametrize(
    "header", ["", "[::1", "::1", "[]", "[::1]x", "[localhost]", "127.1", "2130706433", "[fe80::1%a]"]
)
def test_malformed_ones(header):
    assert not is_expected(header, NAMES)

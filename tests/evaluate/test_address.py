"""Where a server is, as a person writes it."""

import pytest

from divebell.errors import BadInput
from divebell.evaluate.address import Address, address


@pytest.mark.parametrize(
    ("text", "url", "model"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", ""),
        ("https://api.example.com/v1/", "https://api.example.com/v1", ""),
        ("gpt-4o=https://api.example.com/v1", "https://api.example.com/v1", "gpt-4o"),
        ("a/b:c=http://[::1]:1/v1", "http://[::1]:1/v1", "a/b:c"),
    ],
)
def test_an_address_may_name_the_model(text, url, model):
    assert address(text) == Address(url, model)


@pytest.mark.parametrize("text", ["smollm2-135m", "org/name:file.gguf", "folder=x", "ftp://a"])
def test_other_models_are_no_addresses(text):
    assert address(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://", "has no host"),
        ("http://me:secret@host/v1", "must have no user, password"),
        ("http://host/v1?key=secret", "must have no user, password, query"),
        ("http://host:99999/v1", "is no address"),
    ],
)
def test_what_can_not_be_asked_is_told_without_secrets(text, says):
    with pytest.raises(BadInput, match=says) as told:
        address(text)
    assert "secret" not in str(told.value)

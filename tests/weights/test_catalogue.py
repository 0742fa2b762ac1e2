import re

import pytest

from divebell.errors import BadInput
from divebell.weights.catalogue import CATALOGUE, DEFAULT, HubFile, Wheels, find, unknown

ENTRIES = list(CATALOGUE.values())
SHA256 = re.compile(r"[0-9a-f]{64}")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_says_all_that_a_person_wants_to_know(entry):
    assert CATALOGUE[entry.name] is entry
    assert SHA256.fullmatch(entry.sha256)
    assert entry.licence == "Apache-2.0"
    assert entry.origin.startswith("https://")
    assert entry.description
    assert [type(source) for source in entry.sources] == [HubFile, Wheels]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_wheels_add_up_to_the_file(entry):
    wheels = entry.sources[1]
    assert wheels.ends[-1] == entry.size
    assert len({part.sha256 for part in wheels.parts}) == len(wheels.parts)
    for part in wheels.parts:
        assert SHA256.fullmatch(part.sha256)
        assert part.member.startswith(part.project.replace("-", "_") + "/")
        assert part.wheel.startswith(part.project.replace("-", "_") + "-")


def test_names_are_found_whatever_their_case():
    assert find("SmolLM2-135M") is CATALOGUE[DEFAULT]
    with pytest.raises(BadInput, match=r"'smollm3'.* catalogue \(smollm2-135m, qwen2\.5-coder-1\.5b\) or a hub id"):
        find("smollm3")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smollm3", r"no such file or folder, and no model of that name; give a folder, a \.gguf file, .*smollm2-135m"),
        ("qwen2.5-coder", r"no such file or folder, and no model of that name; .* a hub id \(org/name"),
        ("./smollm2", r"no such file or folder; check the path$"),
        ("a/b/c", r"no such file or folder; check the path$"),
        ("model.gguf", r"no such file or folder; check the path$"),
    ],
)
def test_an_unknown_name_is_told_what_a_model_may_be(name, says):
    assert re.search(says, str(unknown(name)))

import re

import pytest

from divebell.errors import Unsupported
from divebell.weights.catalogue import CATALOGUE, DEFAULT, HubFile, Wheels, find

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
    with pytest.raises(Unsupported, match=r"qwen2\.5-coder-1\.5b, smollm2-135m"):
        find("smollm3")

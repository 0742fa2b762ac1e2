"""Every example runs as it is, and ends by itself: within seconds, where the machine is not slow."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, capsys):
    runpy.run_path(str(example))
    assert len(capsys.readouterr().out.split()) > 5

"""Fixtures that several packages' tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, on a machine of any speed: a failure is then the change's, not the day's.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny("llama") -> folder of a tiny random checkpoint, made once; the names are checkpoints.SHAPES."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        import checkpoints

        if name not in made:
            made[name] = checkpoints.save(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Receipts and measurements of tests stay out of the person's own."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    os.environ["DIVEBELL_COSTS"] = str(tmp_path_factory.mktemp("config") / "costs.toml")

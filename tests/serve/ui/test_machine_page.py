import pytest
from servers import service_of

from divebell.serve.ui.machine import Pace, Reading


@pytest.fixture
def service(folder):
    with service_of({"small": folder}, gb_per_s=4.0) as service:
        yield service


def test_the_counters_are_those_of_the_metrics(service):
    served = service.models["small"]
    served.metrics.step([type("Chunk", (), {"tokens": range(5)})()] * 2, 0.25)
    floor = served.llm.info.active_bytes / 4e9
    assert Reading.of(service.metrics, "small", 1.0) == Reading(1.0, 0.25, floor, 10.0)


def test_the_pace_is_of_the_time_between_and_the_share_of_the_steps():
    pace = Pace.between(Reading(10, 1.0, 0.25, 100), Reading(12, 2.0, 0.75, 120))
    assert pace == Pace(10.0, 0.5)


@pytest.mark.parametrize(("busy", "floor"), [(0.0, 0.0), (1.0, 0.0)])
def test_no_share_where_nothing_ran_or_nothing_was_measured(busy, floor):
    assert Pace.between(Reading(0, 0, 0, 0), Reading(1, busy, floor, 0)).of_floor is None

import pytest

from divebell import _native
from divebell.engine import machine


@pytest.fixture(scope="module")
def measured() -> machine.Machine:
    return machine.measure(0.02)


def test_figures_are_those_of_some_computer(measured):
    assert measured.cores >= 1
    assert measured.threads == _native.threads()
    assert 0 < measured.memory_available <= measured.memory_total
    assert 0.1 < measured.read_gb_per_s < 10_000
    assert 0.1 < measured.f32_gmac_per_s < 1_000_000
    assert measured.processor


def test_reading_is_measured_from_one_thread_to_all(measured):
    counts = [count for count, _ in measured.read_gb_per_s_by_threads]
    assert counts[0] == 1
    assert counts[-1] == measured.threads
    assert measured.read_gb_per_s_by_threads[-1][1] == measured.read_gb_per_s


@pytest.mark.skipif(_native.isa == "scalar", reason="the scalar loops multiply int8 one by one")
def test_narrow_numbers_are_multiplied_faster():
    def best(kind: str) -> float:  # of one thread, which gets a core to itself now and then on a busy machine too
        return max(machine.with_threads(1, lambda: machine.gmac_per_s(kind, 0.005)) for _ in range(20))

    assert best("int8") > 1.2 * best("f32")


def test_the_pool_is_left_as_it_was():
    before = _native.threads()
    with pytest.raises(ZeroDivisionError):
        machine.with_threads(before + 1, lambda: 1 / 0)
    assert _native.threads() == before


def test_a_count_of_threads_that_is_no_power_of_two_is_measured_too():
    assert machine._counts(6) == [1, 2, 4, 6]
    assert machine._counts(1) == [1]


def test_a_buffer_is_no_larger_than_asked_for(monkeypatch):
    monkeypatch.setattr("divebell._native.probe_read_bandwidth", lambda bytes_, seconds: [bytes_])
    assert machine.read_gb_per_s(0.01, 1 << 20) == (1 << 20) / 1e9
    assert machine.read_gb_per_s(0.01) >= (64 << 20) / 1e9


@pytest.mark.parametrize("bytes_", [0, -512, 100])
def test_a_buffer_that_the_loop_does_not_divide_is_refused(bytes_):
    with pytest.raises(ValueError, match="multiple of 512"):
        _native.probe_read_bandwidth(bytes_, 0.01)


def test_an_unknown_kind_of_number_is_refused():
    with pytest.raises(ValueError, match="int8, bf16 or f32"):
        _native.probe_multiply_adds("int3", 0.01)

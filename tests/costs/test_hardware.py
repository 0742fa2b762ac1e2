"""What machines compute a second."""

from dataclasses import replace

from divebell.costs.hardware import hardware
from divebell.costs.settings import Settings
from divebell.costs.this_machine import this_hardware, this_machine


def test_floats_are_half_as_fast_as_bfloat16_where_nobody_measured_them():
    machine = hardware("epyc-9654")
    assert machine.rates["f32"] == machine.bf16 / 2
    assert replace(machine, f32=1e11).rates["f32"] == 1e11


def test_this_machine_has_them_measured():
    measured = this_machine()["f32_gmac_per_s"] * 1e9
    assert this_hardware(Settings()).rates["f32"] == measured > 0

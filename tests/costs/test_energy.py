"""Meters: what the system offers, read as it is meant, and an estimate that says that it is one."""

from pathlib import Path

import pytest

from divebell.costs import energy
from divebell.costs.settings import Settings
from divebell.errors import BadFile

NOWHERE = Path("/nowhere")


def _file(folder, name, value):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{value}\n")
    return folder / name


def test_rapl_adds_packages_and_survives_their_wrap(tmp_path):
    files = []
    for name, value in (("intel-rapl:0", 900_000), ("intel-rapl:1", 100_000)):
        files.append(_file(tmp_path / name, "energy_uj", value))
        _file(tmp_path / name, "max_energy_range_uj", 1_000_000)
        _file(tmp_path / name, "name", f"package-{name[-1]}")
    parts = []
    for name, word in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys")):  # a part of a package, and the board
        parts.append(_file(tmp_path / name, "energy_uj", 5))
        _file(tmp_path / name, "name", word)
    found = energy.source(Settings(), tmp_path, NOWHERE)
    assert found.method.startswith("RAPL")
    begin = found.read()
    files[0].write_text("200000")
    files[1].write_text("400000")
    for part in parts:
        part.write_text("90000")
    assert found.read() - begin == pytest.approx(0.3 + 0.3, abs=1e-6)


def test_a_counter_that_fails_once_books_nothing_then_and_that_is_said(tmp_path, caplog):
    rapl, hwmon = tmp_path / "intel-rapl:0", tmp_path / "hwmon0"
    package = _file(rapl, "energy_uj", 900_000)
    _file(rapl, "max_energy_range_uj", 65_000_000_000)
    _file(rapl, "name", "package-0")
    socket = _file(hwmon, "energy1_input", 5_000_000_000)
    _file(hwmon, "name", "amd_energy")
    for file, found in (
        (package, energy.source(Settings(), tmp_path, NOWHERE)),
        (socket, energy.source(Settings(), NOWHERE, tmp_path)),
    ):
        begin, good = found.read(), int(file.read_text())
        file.write_text("")
        assert (found.read(), found.read()) == (begin, begin)
        file.write_text(f"{good + 2_000_000}")
        assert found.read() - begin == pytest.approx(2.0)
    told = [record.getMessage() for record in caplog.records]
    assert [f"{file} can't be read any more" in words for file, words in zip((package, socket), told, strict=True)]


def test_a_counter_without_a_range_that_falls_books_nothing(tmp_path):
    file = _file(tmp_path / "intel-rapl:0", "energy_uj", 900_000)
    _file(tmp_path / "intel-rapl:0", "name", "package-0")
    found = energy.source(Settings(), tmp_path, NOWHERE)
    file.write_text("100000")
    assert found.read() == 0.0


def test_hwmon_energy_is_in_microjoules(tmp_path):
    file = _file(tmp_path / "hwmon0", "energy2_input", 1_000_000)
    _file(tmp_path / "hwmon0", "energy2_label", "Esocket0")
    _file(tmp_path / "hwmon0", "name", "amd_energy")
    core = _file(tmp_path / "hwmon0", "energy1_input", 0)
    _file(tmp_path / "hwmon0", "energy1_label", "Ecore000")
    found = energy.source(Settings(), NOWHERE, tmp_path)
    begin = found.read()
    file.write_text("3500000")
    core.write_text("900000")
    assert (found.method, found.read() - begin) == ("hwmon: amd_energy, processor sockets alone", 2.5)


def test_power_is_integrated(monkeypatch, tmp_path):
    _file(tmp_path / "hwmon0", "power1_input", 40_000_000)
    _file(tmp_path / "hwmon0", "name", "fam15h_power")
    monkeypatch.setattr(energy.time, "monotonic", iter([0.0, 10.0, 20.0]).__next__)
    monkeypatch.setattr(energy, "Thread", lambda **_: type("Still", (), {"start": lambda self: None})())
    found = energy.source(Settings(), NOWHERE, tmp_path)
    assert (found.read(), found.read()) == (400.0, 800.0)


@pytest.mark.parametrize(
    ("chips", "method", "watts"),
    [
        ({"amdgpu": 45, "BAT0": 30, "corsairpsu": 150, "fam15h_power": 60}, "hwmon: corsairpsu, the machine", 150),
        ({"amdgpu": 45, "fam15h_power": 60}, "hwmon: fam15h_power, processors alone", 60),
        ({"amdgpu": 45, "BAT0": 30}, "estimate", None),
    ],
)
def test_the_wall_is_not_added_to_its_parts(chips, method, watts, monkeypatch, tmp_path):
    for number, (chip, now) in enumerate(chips.items()):
        _file(tmp_path / f"hwmon{number}", "name", chip)
        _file(tmp_path / f"hwmon{number}", "power1_input", now * 1_000_000)
        _file(tmp_path / f"hwmon{number}", "power2_input", 9_000_000)  # a rail of a supply
    monkeypatch.setattr(energy, "integral", lambda watts: watts)
    found = energy.source(Settings(), NOWHERE, tmp_path)
    assert found.method.startswith(method)
    assert watts is None or found.read() == watts


@pytest.mark.parametrize(
    ("command", "watts"),
    [
        ("echo 12.5", 12.5),
        ("echo 2 3", 5.0),
        ("echo no", None),
        ("exit 3", None),
        ("echo -4", None),
        ("echo nan", None),
    ],
)
def test_a_command_prints_watts(command, watts):
    assert energy._watts(command) == watts


def test_a_meter_that_never_gave_watts_is_refused():
    with pytest.raises(BadFile, match=r"meter\.command: is 'exit 3', which prints no number of watts"):
        energy.source(Settings(command="exit 3"))


def test_of_a_meter_that_is_gone_the_last_watts_hold_and_that_is_said(tmp_path, caplog):
    file = _file(tmp_path, "watts", 30)
    watts = energy._metered(f"cat {file}")
    file.unlink()
    assert (watts(), watts()) == (30.0, 30.0)
    assert [record.getMessage().count("prints no watts any more") for record in caplog.records] == [1]
    _file(tmp_path, "watts", 40)
    assert watts() == 40.0


def test_the_estimate_is_labelled_and_follows_processor_time(monkeypatch):
    monkeypatch.setattr(energy.os, "cpu_count", lambda: 2)
    clocks = {"monotonic": 0.0, "process_time": 0.0}
    for name in clocks:
        monkeypatch.setattr(energy.time, name, lambda name=name: clocks[name])
    found = energy.source(Settings(watts=100.0, idle_watts=20.0), NOWHERE, NOWHERE)
    assert found.method == "estimate: 100 W busy, 20 W idle (your watts) x processor time"
    assert found.uncertainty == 0.5
    begin = found.read()
    clocks.update(monotonic=1.0, process_time=2.0)
    assert found.read() - begin == 100.0


def test_without_settings_watts_are_assumed():
    found = energy.source(Settings(), NOWHERE, NOWHERE)
    assert "assumed watts" in found.method
    assert found.idle_watts > 0

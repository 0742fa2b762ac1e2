"""Speeds of this machine are rehearsed once, and again by kernels that have not been tried."""

from dataclasses import fields

from published import CONFIGS

from divebell.costs import rehearsed
from divebell.costs.hardware import Hardware
from divebell.costs.settings import Settings
from divebell.costs.shape import shape_of

WANTED = [("prompt", 512, 0, 1), ("decode", 1, 0, 1)]
HERE = {"name": "here", "memory": 1e10, "read": 3e10, "int8": 2e11, "bf16": 1e11, "watts": 10.0}


def test_once_for_these_kernels(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(rehearsed, "speeds_place", lambda: tmp_path / "speeds.json")
    monkeypatch.setattr(rehearsed, "rehearse", lambda *given: asked.append(given[-1]) or [0.5] * len(given[-1]))
    machine = Hardware(**dict.fromkeys(f.name for f in fields(Hardware)) | HERE)
    shape = shape_of(CONFIGS["deepseek-v3"], "q4")
    for kernels, points in (("a", WANTED[:1]), ("a", WANTED), ("a", WANTED), ("b", WANTED)):
        monkeypatch.setattr(rehearsed, "kernels", lambda kernels=kernels: kernels)
        speeds = rehearsed.on_this(shape, points, machine, Settings())
        assert [speed.seconds for speed in speeds] == [0.5] * len(points)
    assert [[point.kind for point in points] for points in asked] == [["prompt"], ["decode"], ["prompt", "decode"]]

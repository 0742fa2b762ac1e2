"""Frames of event streams."""

import json

import pytest

from divebell.serve import frames
from divebell.serve.anthropic import answer

TEXT = "a\x85b\u2028c\u2029d\r\n\x0b\x0c\x1ce é 深"


@pytest.mark.parametrize("frame", [frames.frame({"text": TEXT}), answer.frame("delta", {"text": TEXT})])
def test_a_frame_is_one_line_of_data_to_every_client(frame):
    *_, data = frame.rstrip("\n").splitlines()
    assert json.loads(data.removeprefix("data: "))["text"] == TEXT

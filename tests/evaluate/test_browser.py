"""What the browser's eye must notice: without this, a page that is broken could pass."""

import pytest
from browser import seen

GOOD = """<!doctype html><meta name=viewport content="width=device-width">
<body style="background:#fff;color:#000"><p>short</p>"""


def test_a_good_page_has_nothing_to_tell(tmp_path):
    found = seen(GOOD, tmp_path, dark=False)
    assert (found.told, found.dark, found.width, found.texts) == ([], False, 360, 1)
    assert found.contrast == pytest.approx(21)


def test_faults_are_seen(tmp_path):
    faults = "<p style='width:500px;color:#aaa'>wide and pale</p><p style='font-size:9px'>small</p>"
    found = seen(f"{GOOD}{faults}<script>no()</script>", tmp_path, dark=True)
    assert found.width > 500
    assert found.contrast == pytest.approx(2.32, abs=0.01)
    assert found.smallest == 9
    assert "no is not defined" in found.told[0]


def test_darkness_is_the_pages_own_choice(tmp_path):
    style = "<style>:root{color-scheme:light dark} body{background:Canvas;color:CanvasText}</style>"
    assert seen(f"<!doctype html>{style}<p>a", tmp_path, dark=True).dark

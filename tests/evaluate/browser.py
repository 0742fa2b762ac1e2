"""A page as a browser shows it on a phone: Chromium without a window, where there is one."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PHONE = 360  # CSS pixels
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Contrast is WCAG 2.2's: of each element with a text of its own, against the nearest background that can be seen.
_FRAME = """<!doctype html><title>frame</title>
<body><iframe style="width:{width}px;height:800px;border:0" srcdoc="{page}"></iframe>
<script>
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const ground = (view, at) => {{
  for (; at; at = at.parentElement) {{
    const colour = numbers(view.getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }}
  return [255, 255, 255];
}};
const luminance = colour => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {{
  const c = colour[i] / 255;
  return sum + weight * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
}}, 0);
const contrast = (a, b) => {{
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}};
const ownText = at => [...at.childNodes].some(node => node.nodeType == 3 && node.data.trim());
const scale = at => at.closest("svg") ? at.getScreenCTM().a : 1;
onload = () => {{
  const view = document.querySelector("iframe").contentWindow, page = view.document;
  const texts = [...page.body.querySelectorAll("*")].filter(at => ownText(at) && at.getClientRects().length);
  const ink = at => numbers(view.getComputedStyle(at)[at.closest("svg") ? "fill" : "color"]);
  const seen = {{
    width: page.documentElement.scrollWidth,
    dark: luminance(ground(view, page.body)) < 0.2,
    texts: texts.length,
    contrast: Math.min(...texts.map(at => contrast(ink(at), ground(view, at)))),
    smallest: Math.min(...texts.map(at => parseFloat(view.getComputedStyle(at).fontSize) * scale(at))),
  }};
  document.body.textContent = "SEEN " + JSON.stringify(seen) + " END";
}};
</script>"""


@dataclass(frozen=True)
class Seen:
    """width: of all that is there, in CSS pixels. dark: whether its ground is. texts: elements with one of their own.
    contrast: the least of them. smallest: size of letters, in pixels. told: on the console."""

    width: float
    dark: bool
    texts: int
    contrast: float
    smallest: float
    told: list[str]


def seen(page: str, folder: Path, dark: bool) -> Seen:
    """page: HTML. folder: for the frame that it is shown in. Skips the test where there is no Chromium."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium here")
    frame = folder / "frame.html"
    frame.write_text(_FRAME.format(width=PHONE, page=html.escape(page, quote=True)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    options += ["--enable-logging=stderr", f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom"]
    done = subprocess.run([program, *options, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    [found] = re.findall(r"<body>SEEN (.*) END", done.stdout) or [done.stderr]
    told = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(**json.loads(html.unescape(found)), told=told)

"""A written page as a browser shows it on a phone, where there is a Chromium."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from chromium import CONTRAST, PROGRAM, tab

PHONE = 360  # CSS pixels
_SEEN = f"""(() => {{
  {CONTRAST}
  const ownText = at => [...at.childNodes].some(node => node.nodeType == 3 && node.data.trim());
  const scale = at => at.closest("svg") ? at.getScreenCTM().a : 1;
  const texts = [...document.body.querySelectorAll("*")].filter(at => ownText(at) && at.getClientRects().length);
  return {{
    width: document.documentElement.scrollWidth,
    dark: luminance(ground(document.body)) < 0.2,
    texts: texts.length,
    contrast: Math.min(...texts.map(contrast)),
    smallest: Math.min(...texts.map(at => parseFloat(getComputedStyle(at).fontSize) * scale(at))),
  }};
}})()"""


@dataclass(frozen=True)
class Seen:
    """width: of all that is there, in CSS pixels. dark: whether its ground is. texts: elements with one of their own.
    contrast: the least of them. smallest: size of letters, in pixels. told: what the console complains of."""

    width: float
    dark: bool
    texts: int
    contrast: float
    smallest: float
    told: list[str]

    def suits_a_phone(self, dark: bool) -> None:
        """dark: what is wished for."""
        assert self.told == []
        assert self.width <= PHONE
        assert self.dark == dark
        assert self.contrast >= 4.5
        assert self.smallest >= 12
        assert self.texts > 30


def seen(page: str, folder: Path, dark: bool) -> Seen:
    """page: HTML. folder: for the file and the browser's own. Skips the test where there is no Chromium."""
    if PROGRAM is None:
        pytest.skip("there is no Chromium here")
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    with tab(PROGRAM, folder) as one:
        one.look(PHONE, 800, dark)
        one.open(file.as_uri())
        one.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        return Seen(**one.value(_SEEN), told=one.problems)

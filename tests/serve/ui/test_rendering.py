from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.serve.ui.attachment import Attachment, joined
from divebell.serve.ui.rendering import SCHEMES, code_css, formula, html

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![pixel](https://evil.example/x.png)",
    "![pixel][1]\n\n[1]: https://evil.example/x.png",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1)) <javascript:alert(1)> [d](data:text/html,x) [v](vbscript:x) [e](&#106;avascript:x)",
    "<iframe src=//evil.example></iframe><style>@import '//evil.example'</style><svg onload=alert(1)>",
    r"$\text{<img src=x onerror=alert(1)>}$",
    r"$$\href{javascript:alert(1)}{x} \style{background:url(//evil.example)}{y}$$",
    r"\(\text{</mtext><script>alert(1)</script>}\)",
    '```"><script>\n</code></pre><script>alert(1)</script>\n```',
    "```html\n<script>alert(1)</script>\n```",
    '| a |\n|---|\n| <b onclick="x">b</b> |',
    '[a](https://x.example "\\" onmouseover=alert(1)")',
]
BARRED = {
    "script",
    "img",
    "iframe",
    "style",
    "svg",
    "object",
    "embed",
    "form",
    "input",
    "link",
    "meta",
    "base",
    "audio",
}


class Tags(HTMLParser):
    """What a browser would find."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def check_harmless(text):
    for tag, attributes in Tags(html(text)).found:
        assert tag not in BARRED
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        assert "url(" not in attributes.get("style", "")
        if "href" in attributes:
            assert tag == "a"
            assert attributes["href"].lower().startswith(SCHEMES)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_model_writes_does_no_harm(text):
    check_harmless(text)


@given(st.lists(st.sampled_from([*HOSTILE, "$", "```", "`", "\n", "\n\n", "<", "](", "> ", "|", "\\"]), max_size=12))
def test_nor_does_any_mixture_of_it(parts):
    check_harmless("".join(parts))


@given(st.text())
def test_any_text_can_be_shown(text):
    assert isinstance(html(text), str)


@pytest.mark.parametrize("end", range(1, 60))
def test_so_can_every_beginning_of_one(end):
    check_harmless("Here: $\\frac{a}{b}$ and\n```python\nprint(1)\n```\n| a |"[:end])


def test_raw_html_is_text():
    assert html("<b>bold</b>") == "<p>&lt;b&gt;bold&lt;/b&gt;</p>\n"


@pytest.mark.parametrize(
    "text", [r"$x^2$", r"\(x^2\)", r"$$x^2$$", "\\[\nx^2\n\\]", "a $x^2$, b", "so:\n\\[ x^2 \\]\nhere"]
)
def test_formulas_are_mathml(text):
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in html(text)


def test_prices_are_none():
    assert "math" not in html("It costs $5, or $6 on Sundays.")


def test_what_is_no_formula_is_shown_as_written():
    assert formula(r"<\frac{", block=False) == r"<code>&lt;\frac{</code>"


def test_code_is_coloured_where_its_language_is_known():
    assert '<span class="nb">print</span>' in html("```python\nprint(1)\n```")
    assert "<span" not in html("```nosuch\nprint(1)\n```")
    assert ".answer .nb" in code_css()
    assert ".body--dark .answer .nb" in code_css()


def test_links_open_elsewhere_and_tell_nothing():
    ((tag, attributes),) = Tags(html("[a](https://x.example)").replace("<p>", "")).found
    assert (tag, attributes["rel"], attributes["target"]) == ("a", "noopener noreferrer", "_blank")
    assert urlsplit(attributes["href"]).hostname == "x.example"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50))
def test_a_file_stays_within_its_fence(text):
    shown = joined([Attachment.of("a.txt", f"{text}```\n````".encode())], "Why?")
    assert shown.count("\n`````\n") == 2
    assert shown.endswith("\n\nWhy?")

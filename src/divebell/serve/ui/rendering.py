"""What a model wrote as HTML. It is hostile: no HTML of its own gets through, and nothing that would be fetched."""

from functools import cache
from html import escape, unescape
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.texmath import texmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

SCHEMES = ("http://", "https://", "mailto:")
# Of MathML, whatever can't lead anywhere.
ATTRIBUTES = {
    *("display", "displaystyle", "mathvariant", "stretchy", "fence", "separator", "form", "accent", "accentunder"),
    *("lspace", "rspace", "width", "height", "depth", "linethickness", "minsize", "maxsize", "movablelimits", "xmlns"),
    *("columnalign", "columnlines", "rowlines", "columnspacing", "rowspacing", "largeop", "symmetric", "scriptlevel"),
}
LONGEST = 10_000  # characters of a formula within a paragraph
FORMATTER = HtmlFormatter(nowrap=True)


def html(text: str) -> str:
    """Markdown with tables, code in colours and formulas ($...$, $$...$$, \\(...\\), \\[...\\]). Any text will do.

    Raw HTML is shown as the text that it is, pictures as links, and a link with another scheme than http, https or
    mailto not as one.
    """
    return _renderer().render(text)


def formula(latex: str, block: bool) -> str:
    """LaTeX as MathML, or as it was written if it is none.

    The elements are written out by ElementTree: latex2mathml's own text does not escape what \\text{} holds.
    """
    try:
        root = convert_to_element(latex, display="block" if block else "inline")
        for element in root.iter():
            _tame(element)
        return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    except Exception:  # the converter has many for a formula that is no formula
        return f"<code>{escape(latex)}</code>"


def code_css() -> str:
    """The colours of code, in light and dark."""
    light, dark = HtmlFormatter(nobackground=True), HtmlFormatter(nobackground=True, style="github-dark")
    return light.get_style_defs(".answer") + dark.get_style_defs(".body--dark .answer")


def _tame(element: ElementTree.Element) -> None:
    element.text = element.text and unescape(element.text)
    for name in set(element.attrib) - ATTRIBUTES:
        del element.attrib[name]


@cache
def _renderer() -> MarkdownIt:
    options = {"html": False, "linkify": False, "highlight": _coloured, "maxNesting": 40}
    renderer = MarkdownIt("commonmark", options).enable(["table", "strikethrough"]).disable("image")
    renderer.use(dollarmath_plugin, allow_space=False, double_inline=True, renderer=_dollar_math)
    renderer.use(texmath_plugin, delimiters="brackets")
    renderer.inline.ruler.before("escape", "bracket_math", _bracket_math)
    for name, block in (("math_inline", False), ("math_block", True), ("math_inline_double", True)):
        renderer.add_render_rule(name, _math_rule(block))
    renderer.validateLink = lambda url: url.strip().lower().startswith(SCHEMES)
    renderer.add_render_rule("link_open", _link)
    return renderer


def _bracket_math(state: StateInline, silent: bool) -> bool:
    """\\[...\\] within a paragraph, which models write often; texmath knows it as a paragraph of its own alone."""
    begin = state.pos + 2
    end = state.src.find(r"\]", begin, begin + LONGEST) if state.src.startswith(r"\[", state.pos) else -1
    if end < 0:
        return False
    if not silent:
        state.push("math_inline_double", "math", 0).content = state.src[begin:end]
    state.pos = end + 2
    return True


def _dollar_math(latex: str, options: dict) -> str:
    return formula(latex, options["display_mode"])


def _math_rule(block: bool):
    return lambda self, tokens, index, options, env: formula(tokens[index].content, block)


def _link(self, tokens, index, options, env) -> str:
    tokens[index].attrSet("target", "_blank")
    tokens[index].attrSet("rel", "noopener noreferrer")
    return self.renderToken(tokens, index, options, env)


def _coloured(code: str, language: str, _attributes: str) -> str:
    try:
        return highlight(code, get_lexer_by_name(language), FORMATTER) if language else ""
    except ClassNotFound:
        return ""

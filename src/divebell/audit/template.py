"""Whether a chat template is one that is known, and what it would put into prompts that nobody asked for.

A template is a program that sees every conversation. Changed, it can add instructions without a weight being touched
(as in CVE-2024-34359's wake: templates inside GGUF files). So: its SHA-256 against the known ones; text of its own;
conditions on what messages say; and conversations rendered beside the format that the control tokens point to.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from jinja2 import nodes

from divebell.audit.finding import Finding
from divebell.audit.known import known_name
from divebell.errors import DivebellError
from divebell.text import builtin
from divebell.text.chat import ChatFormat
from divebell.text.stored_template import DEFAULT
from divebell.text.template import environment

_MARK = re.compile(r"<[^<>\n]*>|\[/?[A-Z_]+\]")
_WORDS = 3  # of the template's own in a row: shorter ones are names of roles and keys
_SHOWN = 160
_CONVERSATIONS = (
    [("user", "Hello.")],
    [("system", "Be brief."), ("user", "Write a login page in html with a script."), ("assistant", "<html></html>")],
    [("user", "What is 2 + 2?"), ("assistant", "4."), ("user", "Send my password to the bank: https://example.org")],
)


def template_findings(templates: dict[str, str], tokenizer: Any) -> list[Finding]:
    if not templates:
        return [Finding("chat template", "note", "none in the files: the format is chosen by the control tokens")]
    return [_finding(name, source, tokenizer) for name, source in templates.items()]


def _finding(name: str, source: str, tokenizer: Any) -> Finding:
    check = "chat template" if name == DEFAULT else f"chat template {name}"
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    if known := known_name("template", sha256):
        return Finding(check, "passed", f"that of {known}, unchanged")
    try:
        tree = environment().parse(source)
    except Exception as problem:  # jinja2's own errors, and whatever a hostile source makes it raise
        return Finding(check, "failed", f"can't be parsed: {problem}")
    suspicious = [*_reaches(tree), *_triggers(tree), *_addresses(tree)]
    if suspicious:
        return Finding(check, "failed", f"SHA-256 {sha256} is not a known one, and it {'; it '.join(suspicious)}")
    differs, said = _against_format(source, tokenizer)
    own = "".join(f"; writes of its own: {_short(text)}" for text in own_words(tree))
    return Finding(check, "warning" if differs else "note", f"SHA-256 {sha256} is not a known one; {said}{own}")


def own_words(tree: nodes.Template) -> list[str]:
    """Text that the template itself puts into prompts, control tokens left out."""
    texts = (_MARK.sub(" ", text).strip() for text in _texts(tree))
    return [text for text in dict.fromkeys(texts) if len(text.split()) >= _WORDS]


def _texts(tree: nodes.Node) -> Iterator[str]:
    for node in tree.find_all((nodes.Const, nodes.TemplateData)):
        text = node.data if isinstance(node, nodes.TemplateData) else node.value
        if isinstance(text, str):
            yield text


def _reaches(tree: nodes.Template) -> list[str]:
    """What the sandbox refuses: names behind Python's objects, and other templates."""
    attributes = [node.attr for node in tree.find_all(nodes.Getattr)]
    attributes += [text for text in _texts(tree) if text.startswith("__")]
    hidden = [f"reaches for {name!r}" for name in dict.fromkeys(attributes) if name.startswith("_")]
    others = tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))
    return hidden + [f"loads another template ({type(node).__name__.lower()})" for node in others]


def _triggers(tree: nodes.Template) -> list[str]:
    """Conditions on words of a message: how a template acts on some conversations only."""
    found = []
    for compare in tree.find_all(nodes.Compare):
        for operand in compare.ops:
            text = compare.expr.value if isinstance(compare.expr, nodes.Const) else None
            if operand.op in ("in", "notin") and isinstance(text, str) and _of_content(operand.expr):
                found.append(text)
    words = (text for text in dict.fromkeys(found) if not _MARK.search(text) and re.search(r"\w{2}", text))
    return [f"acts on messages that contain {word!r}" for word in words]


def _of_content(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr) and node.attr == "content":
        return True
    if isinstance(node, nodes.Getitem) and getattr(node.arg, "value", None) == "content":
        return True
    return any(_of_content(child) for child in node.iter_child_nodes())


def _addresses(tree: nodes.Template) -> list[str]:
    found = (match for text in own_words(tree) for match in re.findall(r"https?://[^\s'\"]+", text))
    return [f"writes the address {address} into prompts" for address in dict.fromkeys(found)]


def _against_format(source: str, tokenizer: Any) -> tuple[bool, str]:
    """Whether it renders other prompts than the format of the control tokens, and what was compared."""
    usual = builtin.template_for(tokenizer) if tokenizer else None
    if usual is None:
        return False, "there is no known format to render conversations beside it"
    for turns in _CONVERSATIONS:
        messages = [{"role": role, "content": text} for role, text in turns]
        try:
            ours, theirs = (_rendered(template, messages, tokenizer) for template in (usual, source))
        except DivebellError as problem:
            return True, f"a conversation could not be rendered: {problem}"
        if ours != theirs and turns[0][0] == "system":
            return True, f"it renders {_short(theirs)} where the format of its control tokens is {_short(ours)}"
        if any(text not in theirs for _, text in turns):
            return True, f"it changes what messages say: {_short(theirs)}"
    return False, "conversations come out as the format of its control tokens"


def _rendered(source: str, messages: list[dict], tokenizer: Any) -> str:
    return ChatFormat({DEFAULT: source}, tokenizer.named_tokens, tokenizer.token_id).render(messages)


def _short(text: str) -> str:
    text = repr(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

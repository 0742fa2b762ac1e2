"""The model card: what an audit found, in Markdown."""

from divebell import __version__
from divebell.audit.audit import Audit
from divebell.audit.files import File
from divebell.audit.licences import Licence
from divebell.config import format_bytes
from divebell.text.markdown import table


def card(audit: Audit) -> str:
    parts = [_head(audit), _checks(audit), _licences(audit), _shape(audit), _measured(audit), _files(audit)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(audit: Audit) -> str:
    lines = [("source", audit.source), ("revision", audit.revision), ("made from", audit.base)]
    told = "\n".join(f"- {name}: {value}" for name, value in lines if value)
    made = f"From the files, by divebell {__version__}, {audit.made:%Y-%m-%d %H:%M} UTC."
    return f"# {audit.name}\n\n{made}" + (f"\n\n{told}" if told else "")


def _checks(audit: Audit) -> str:
    rows = [(one.check, one.state, one.said) for one in audit.findings]
    return "## Checks\n\n" + table(("check", "result", "what was found"), rows)


def _licences(audit: Audit) -> str:
    if not audit.licences:
        return "## Licence\n\nNot known."
    return "## Licence\n\n" + "\n\n".join(map(_licence, audit.licences))


def _licence(licence: Licence) -> str:
    asked = [f"- {obligation}" for obligation in licence.obligations]
    asked += [f"- restricted: {restriction}" for restriction in licence.restrictions]
    return f"**{licence.title}** ({licence.source}). In short, and no legal advice:\n\n" + "\n".join(asked)


def _shape(audit: Audit) -> str:
    shape = audit.description
    if shape is None:
        return ""
    rows = [
        ("architecture", shape.architecture),
        ("parameters", f"{shape.parameters:,}"),
        ("active for each token", f"{shape.active_parameters:,}"),
        ("layers", shape.layers),
        ("vocabulary", f"{shape.vocabulary:,}"),
        ("context", f"{shape.max_positions:,} tokens"),
        ("cache", f"{shape.cache_bytes('bf16'):,} bytes for each token, in bfloat16"),
    ]
    return "## Shape\n\n" + table(("", ""), rows)


def _measured(audit: Audit) -> str:
    found = audit.measured
    lines = [*map(str, found.scores), *([str(found.energy)] if found.energy else [])]
    return "## Measured here\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _files(audit: Audit) -> str:
    rows = [(one.name, format_bytes(one.bytes), one.sha256, _compared(one)) for one in audit.files]
    return "## Files\n\n" + table(("file", "size", "SHA-256", "against"), rows)


def _compared(file: File) -> str:
    return "" if file.right is None else f"{'as' if file.right else 'not as'} {file.stated_by} states"

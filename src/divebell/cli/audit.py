"""divebell audit."""

from dataclasses import asdict
from json import dumps
from pathlib import Path

from divebell.audit import ai_act, bom, card
from divebell.audit.audit import Audit
from divebell.audit.audit import audit as audit_model
from divebell.cli.output import print_fields, print_json, print_table
from divebell.config import format_bytes, plural
from divebell.errors import Mismatch


def audit(model: str, /, *, out: Path | None = None, json: bool = False) -> None:
    """Check a model's licence, origin, hashes, tensors, tokenizer and chat template; exit with 1 if a check fails.

    Every file is read and hashed. The hub's list is asked for where the network allows; without it the rest is done,
    and what could not be checked is said.

    Parameters
    ----------
    model
        a folder, a .gguf file, or the name of a model that was pulled
    out
        a folder for the documents: model-card.md, bom.cdx.json (CycloneDX), ai-act.md
    json
        print a JSON object
    """
    found = audit_model(model)
    written = _write(found, out) if out else []
    print_json(_figures(found, written)) if json else _show(found, written)
    if found.failed:
        checks = ", ".join(finding.check for finding in found.failed)
        raise Mismatch(f"{found.name}: {plural(len(found.failed), 'check')} failed: {checks}")


def _write(found: Audit, out: Path) -> list[Path]:
    texts = {
        "model-card.md": card.card(found),
        "bom.cdx.json": dumps(bom.bom(found), indent=2, ensure_ascii=False) + "\n",
        "ai-act.md": ai_act.page(found),
    }
    out = out.expanduser()
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    return [out / name for name in texts]


def _figures(found: Audit, written: list[Path]) -> dict:
    return {
        "model": found.name,
        "path": found.path,
        "source": found.source,
        "revision": found.revision,
        "base": found.base,
        "licences": [asdict(licence) for licence in found.licences],
        "checks": [asdict(finding) for finding in found.findings],
        "files": [asdict(file) for file in found.files],
        "ai_act": [asdict(field) for field in ai_act.fields(found)],
        "documents": written,
    }


def _show(found: Audit, written: list[Path]) -> None:
    print_fields([("model", found.name), ("path", found.path), ("made from", found.base)])
    print_table(("check", "result", "what was found"), [(one.check, one.state, one.said) for one in found.findings])
    asked = [(one.id, what) for one in found.licences for what in one.obligations]
    asked += [(one.id, f"restricted: {what}") for one in found.licences for what in one.restrictions]
    if asked:
        print_table(("licence", "asks (in short, no legal advice)"), asked)
    rows = [(one.name, format_bytes(one.bytes), one.sha256) for one in found.files]
    print_table(("file", "size", "SHA-256"), rows, fold=False)
    if written:
        print_fields([("written", ", ".join(map(str, written)))])

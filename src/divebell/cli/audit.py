"""divebell audit."""

from contextlib import suppress
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from divebell.audit import ai_act, bom, card
from divebell.audit.audit import Audit
from divebell.audit.audit import audit as audit_model
from divebell.audit.measured import Measured, Score, energy
from divebell.cli.output import print_fields, print_json, print_table
from divebell.config import format_bytes, plural
from divebell.errors import BadFile, Mismatch

if TYPE_CHECKING:
    from divebell.evaluate.kept import Kept


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
    found = replace(found, measured=_measured(found))
    written = _write(found, out) if out else []
    print_json(_figures(found, written)) if json else _show(found, written)
    if found.failed:
        checks = ", ".join(finding.check for finding in found.failed)
        raise Mismatch(f"{found.name}: {plural(len(found.failed), 'check')} failed: {checks}")


def _measured(found: Audit) -> Measured:
    """What runs of `divebell eval` and receipts on this machine tell of these files, and the atlas of this name."""
    from divebell.costs import ledger, settings
    from divebell.evaluate.kept import kept

    files = found.identities
    scores = tuple(_score(one) for one in kept(settings.state() / "eval", files))
    own = None
    with suppress(BadFile):  # a ledger that can't be read is told by `divebell receipts`, and no fault of the model
        own = energy(ledger.receipts(ledger.place()), files)
    return Measured(scores, own, *(_published(found.name, field) for field in ("training_tokens", "gpu_hours")))


def _score(one: "Kept") -> Score:
    value = one.interval
    how = _how(one.settings)
    return Score(one.benchmark, one.metric, one.questions, value.value, value.low, value.high, how, one.date)


def _how(settings: dict) -> str:
    shots = settings.get("shots")
    said = ["usual examples" if shots is None else f"{shots} examples", "chat" if settings.get("chat") else "text"]
    return ", ".join([*said, f"weights {settings['model'].get('weights', 'not known')}"])


def _published(model: str, field: str) -> str:
    from divebell.atlas.cells import atlas
    from divebell.atlas.form import written
    from divebell.evaluate.published import same_model

    cell = next((one.cells[field] for one in atlas() if same_model(model, one.name)), None)
    if cell is None or cell.value is None:
        return ""
    note = f", {cell.note}" if cell.note else ""
    what = field.replace("_", " ").replace("gpu", "GPU")
    return f"{what} {written(field, cell)}, as published for a model of this name ({cell.source.title}{note})"


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
        "measured": asdict(found.measured),
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

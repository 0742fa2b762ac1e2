"""Under which licences a model stands, and what they ask: from what its files and its place say, and from its name.

The table of licences and of models' bases is licences.toml, in our words and with the source of each.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from divebell.audit.finding import Finding

_LONGEST_TEXT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """id: SPDX's where `spdx`, else ours. restrictions: on what the model may be used for."""

    id: str
    title: str
    source: str
    names: list[str]
    phrase: str
    obligations: list[str]
    restrictions: list[str] = ()
    spdx: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """licences: all of them hold at once. base: the model that it was made from, where that is known."""

    licences: list[Licence]
    base: str | None
    finding: Finding


def terms_of(names: Iterable[str], statements: Mapping[str, str], folder: Path | None) -> Terms:
    """names: what file, folder and repository call the model. statements: who says so -> a licence's name."""
    known = _known_model(names)
    stated = {by: _by_name(name) for by, name in statements.items()} | _by_text(folder)
    said = [licence for licence in stated.values() if licence]
    usual = [_licences()[id] for id in known["licences"]] if known else []
    licences = list({licence.id: licence for licence in [*said, *usual]}.values())
    return Terms(licences, known and known.get("base"), _finding(statements, stated, usual, known, licences))


def _finding(statements: Mapping, stated: Mapping, usual: list[Licence], known: dict | None, found: list) -> Finding:
    sources = [f"{licence.id} by {by}" for by, licence in stated.items() if licence]
    unread = [f"{statements[by]!r} by {by}" for by in statements if stated[by] is None]
    if not found:
        told = f"; unknown to divebell: {', '.join(unread)}" if unread else ""
        return Finding("licence", "not checked", f"no licence is stated in the files{told}; look at the model's page")
    said = ", ".join(sources) or "not stated in the files"
    if usual:
        base = f" (made from {known['base']})" if known.get("base") else ""
        said += f"; a model of this name{base} is released under {' and '.join(one.id for one in usual)}"
    contradicted = usual and any(licence and licence not in usual for licence in stated.values())
    state = "warning" if contradicted or unread else "passed" if sources else "note"
    return Finding("licence", state, said + (f"; unknown to divebell: {', '.join(unread)}" if unread else ""))


def _known_model(names: Iterable[str]) -> dict[str, Any] | None:
    """The first entry of the table whose pattern one of the names has."""
    names = [name.lower() for name in names]
    return next((one for one in _table()["model"] if any(re.search(one["pattern"], name) for name in names)), None)


def _by_name(name: str) -> Licence | None:
    name = name.strip().lower()
    return next((one for one in _licences().values() if name == one.id.lower() or name in one.names), None)


def _by_text(folder: Path | None) -> dict[str, Licence | None]:
    """Licences whose text lies in the folder, but for one that says by its name that it is that of the code alone."""
    found = {}
    for path in sorted(folder.glob("LICENSE*")) if folder else []:
        if not path.is_file() or re.search(r"\bcode\b", re.sub(r"[-_.]", " ", path.name.lower())):
            continue
        text = path.read_bytes()[:_LONGEST_TEXT].decode(errors="replace")
        if licence := next((one for one in _licences().values() if one.phrase in text), None):
            found[path.name] = licence
    return found


@cache
def _licences() -> dict[str, Licence]:
    return {one["id"]: Licence(**one) for one in _table()["licence"]}


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((files("divebell.audit") / "licences.toml").read_text(encoding="utf-8"))

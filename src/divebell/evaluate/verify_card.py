"""What a verification found, tied to every file that it was found with: as data with its own digest, and Markdown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from divebell import __version__
from divebell.evaluate.verify import Asked, Verdict
from divebell.text.markdown import table
from divebell.weights.here import files_of
from divebell.weights.progress import hashed


@dataclass(frozen=True, slots=True)
class HashedFile:
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One of the two. weights, cache: the numbers it was computed with."""

    name: str
    weights: str
    cache: str
    files: list[HashedFile]


def hashed_files(path: Path, weights: Sequence[Path]) -> list[HashedFile]:
    """Every file of a model's folder, or the parts of its GGUF; each is read whole."""
    root = path if path.is_dir() else path.parent
    sizes = {file: file.stat().st_size for file in files_of(path, weights)}
    return [HashedFile(str(file.relative_to(root)), size, hashed(file, size)) for file, size in sizes.items()]


def signed(model: Subject, reference: Subject, ids: Sequence[int], text: str, verdict: Verdict) -> dict:
    """The card. text: where the tokens `ids` are from. sha256: of the rest, as `digest` takes it."""
    card = {
        "divebell": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": asdict(model),
        "reference": asdict(reference),
        "text": {"from": text, "tokens": len(ids), "sha256": sha256(json.dumps(list(ids)).encode()).hexdigest()},
        "within": verdict.within,
        "divergence": [{"first": one.first, "end": one.end, **asdict(one.found)} for one in verdict.buckets],
        "probes": [_probe(one) for one in verdict.asked],
        "same": verdict.same,
        "reasons": verdict.reasons,
    }
    return card | {"sha256": digest(card)}


def digest(card: dict) -> str:
    """SHA-256 of a card without its own `sha256`, as JSON with sorted keys and no spaces: it changes with any word."""
    plain = {name: value for name, value in card.items() if name != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def markdown(card: dict) -> str:
    parts = [_head(card), _divergences(card), _probes(card), _files(card), f"SHA-256 of the card: {card['sha256']}"]
    return "\n\n".join(parts) + "\n"


def copies(card: dict) -> list[tuple[str, int, int, int, int]]:
    """By kind: probes, right answers of the reference, of the model, and those that only the reference has."""
    kinds = dict.fromkeys(probe["kind"] for probe in card["probes"])
    return [(kind, *_count([probe for probe in card["probes"] if probe["kind"] == kind])) for kind in kinds]


def _count(probes: list[dict]) -> tuple[int, int, int, int]:
    right = [tuple(probe[who] == probe["answer"] for who in ("reference", "model")) for probe in probes]
    return len(right), sum(a for a, _ in right), sum(b for _, b in right), right.count((True, False))


def _probe(one: Asked) -> dict:
    probe = one.probe
    told = {"kind": probe.kind, "position": probe.position, "answer": probe.answer}
    return told | {"reference": one.reference, "model": one.model}


def _head(card: dict) -> str:
    names = [f"{card[who]['name']} (weights {card[who]['weights']})" for who in ("model", "reference")]
    said = f"the same within {card['within']:g} nats" if card["same"] else "not the same"
    lines = [f"# {names[0]} against {names[1]}", f"**{said}**, by divebell {card['divebell']}, {card['made']}."]
    if card["reasons"]:
        lines.append(table(("why not",), [(reason,) for reason in card["reasons"]]))
    text = card["text"]
    return "\n\n".join(
        [*lines, f"Text: {text['from']}, {text['tokens']:,} tokens, SHA-256 of their ids {text['sha256']}."]
    )


def _divergences(card: dict) -> str:
    columns = ("positions", "compared", "divergence (nats)", "99th percentile", "same likeliest token")
    return "## Predictions\n\n" + table(columns, map(_divergence, card["divergence"]))


def _divergence(one: dict) -> tuple[object, ...]:
    places = f"{one['first']:,} to {one['end'] - 1:,}"
    return places, one["tokens"], f"{one['mean']:.3g}", f"{one['percentile_99']:.3g}", f"{one['same_best']:.1%}"


def _probes(card: dict) -> str:
    columns = ("copied or recalled", "asked", "reference", "model", "lost")
    return "## Copies and recall\n\n" + table(columns, copies(card))


def _files(card: dict) -> str:
    rows = [
        (who, file["name"], file["bytes"], file["sha256"])
        for who in ("model", "reference")
        for file in card[who]["files"]
    ]
    return "## Files\n\n" + table(("of", "file", "bytes", "SHA-256"), rows)

"""All checks of one model, in the order in which they are told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from divebell import models
from divebell.audit.files import File, entry_of, read_files
from divebell.audit.finding import Finding
from divebell.audit.known import known_name, vocabulary_sha256
from divebell.audit.licences import Licence, Terms, terms_of
from divebell.audit.measured import Measured
from divebell.audit.template import template_findings
from divebell.audit.tensors import tensor_finding
from divebell.engine.identity import file_identity
from divebell.errors import BadInput, DivebellError
from divebell.text.folder import read_json
from divebell.text.stored_template import stored_templates
from divebell.text.tokenizer import load_tokenizer
from divebell.weights.checkpoint import Checkpoint, open_checkpoint
from divebell.weights.here import Found, find_here, stated_source


@dataclass(frozen=True, slots=True)
class Audit:
    """description: a models.description.Description, None for an architecture that divebell does not know.

    source: the page that the model comes from. base: the model that it was made from. tokenizer, templates: as loaded;
    None and {} where there are none that divebell reads. measured: what documents tell beside the files.
    """

    name: str
    path: Path
    source: str | None
    revision: str | None
    licences: list[Licence]
    base: str | None
    description: Any
    files: list[File]
    findings: list[Finding]
    templates: dict[str, str] = field(default_factory=dict)
    tokenizer: Any = None
    measured: Measured = field(default_factory=Measured)
    made: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def identities(self) -> set[str]:
        """By what receipts and journals of answers call the files."""
        root = self.path if self.path.is_dir() else self.path.parent
        return {file.sha256 for file in self.files} | {file_identity(root / file.name) for file in self.files}

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == "failed"]


def audit(model: str) -> Audit:
    """Reads every byte of a model that is on this machine; asks the hub for its list where the network allows.

    Nothing is run and no weight is computed with. BadInput for a model that is not here; a damaged one is no error but
    a finding.
    """
    found = find_here(model)
    try:
        checkpoint, unreadable = open_checkpoint(found.path), None
    except DivebellError as problem:
        checkpoint, unreadable = None, problem
    if checkpoint is None and found.path.is_dir() and not any(found.path.iterdir()):
        raise BadInput(f"{found.path} is an empty folder; give a model's folder, or its .gguf file")
    try:
        return _audit(found, checkpoint, unreadable)
    finally:
        if checkpoint:
            checkpoint.close()


def _audit(found: Found, checkpoint: Checkpoint | None, unreadable: DivebellError | None) -> Audit:
    metadata = checkpoint.config if checkpoint else {}
    files, findings = read_files(found, checkpoint.files if checkpoint else [])
    entry = entry_of(found, {file.sha256 for file in files})
    found = Found(found.path, entry)
    terms, source = _terms(found, metadata), stated_source(found, metadata)
    tokenizer, templates, text = _text(checkpoint)
    shape = [tensor_finding(checkpoint)] if checkpoint else [Finding("tensors", "failed", str(unreadable))]
    return Audit(
        name=entry.name if entry else found.repository or found.path.name,
        path=found.path,
        source=source,
        revision=found.revision or _pinned(entry),
        licences=terms.licences,
        base=terms.base,
        description=_description(checkpoint),
        files=files,
        findings=[terms.finding, _source_finding(found, source), *findings, *shape, *text],
        templates=templates,
        tokenizer=tokenizer,
    )


def _terms(found: Found, metadata: dict) -> Terms:
    folder = found.path if found.path.is_dir() else None
    card = _card(folder)
    statements = {
        "the catalogue": found.entry and found.entry.licence,
        "the file's metadata": metadata.get("general.license"),
        "README.md": card.get("license_name") or card.get("license"),
    }
    fields = ("general.name", "general.basename", "general.base_model.0.name", "_name_or_path")
    names = [found.repository or "", found.path.name, *(metadata.get(name) for name in fields), card.get("base_model")]
    texts = {by: stated for by, stated in statements.items() if isinstance(stated, str)}
    return terms_of([name for name in names if isinstance(name, str)], texts, folder)


def _card(folder: Path | None) -> dict:
    """The fields at the head of a model card."""
    from huggingface_hub.repocard import metadata_load

    try:
        return (folder and (folder / "README.md").is_file() and metadata_load(folder / "README.md")) or {}
    except Exception:  # the library lets through whatever its YAML reader raises
        return {}


def _pinned(entry: Any) -> str | None:
    """The fixed revision of a catalogue entry's file on the hub."""
    return next((source.revision for source in entry.sources if hasattr(source, "revision")), None) if entry else None


def _source_finding(found: Found, source: str | None) -> Finding:
    if source is None:
        return Finding("source", "not checked", "the files do not tell where they come from")
    revision = found.revision or _pinned(found.entry)
    if found.entry or found.repository:
        return Finding("source", "passed", f"{source}{f', revision {revision}' if revision else ''}")
    return Finding("source", "note", f"{source}, as the file's own metadata says, which anyone can write")


def _description(checkpoint: Checkpoint | None) -> Any:
    try:
        return models.describe(checkpoint) if checkpoint else None
    except DivebellError:  # told by the finding on tensors
        return None


def _text(checkpoint: Checkpoint | None) -> tuple[Any, dict[str, str], list[Finding]]:
    if checkpoint is None:
        return None, {}, []
    tokenizer, tokens = _tokenizer(checkpoint)
    try:
        templates = stored_templates(checkpoint)
    except DivebellError as problem:
        return tokenizer, {}, [*tokens, Finding("chat template", "failed", str(problem))]
    return tokenizer, templates, [*tokens, *template_findings(templates, tokenizer), _code_asked_for(checkpoint)]


def _tokenizer(checkpoint: Checkpoint) -> tuple[Any, list[Finding]]:
    try:
        tokenizer = load_tokenizer(checkpoint)
    except DivebellError as problem:
        return None, [Finding("tokenizer", "not checked", str(problem))]
    rows, size = _rows(checkpoint), tokenizer.vocabulary_size
    if rows is not None and size > rows:
        return tokenizer, [
            Finding("tokenizer", "failed", f"has {size:,} tokens, for which the model has {rows:,} rows")
        ]
    sha256 = vocabulary_sha256(tokenizer)
    if known := known_name("vocabulary", sha256):
        return tokenizer, [Finding("tokenizer", "passed", f"{size:,} tokens; the vocabulary of {known}, unchanged")]
    said = f"{size:,} tokens; its vocabulary (SHA-256 {sha256}) is not one that divebell knows"
    return tokenizer, [Finding("tokenizer", "note", said)]


def _rows(checkpoint: Checkpoint) -> int | None:
    description = _description(checkpoint)
    return description and description.vocabulary


def _code_asked_for(checkpoint: Checkpoint) -> Finding:
    """Fields by which transformers is told to import Python from the repository."""
    asked = []
    if checkpoint.kind == "safetensors":
        settings = {"config.json": checkpoint.config}
        settings["tokenizer_config.json"] = read_json(Path(checkpoint.path) / "tokenizer_config.json")
        asked = [f"{name}: {fields['auto_map']}" for name, fields in settings.items() if fields.get("auto_map")]
    if asked:
        said = f"{'; '.join(asked)[:300]}: transformers would import it with trust_remote_code; divebell never does"
        return Finding("code asked for", "warning", said)
    return Finding("code asked for", "passed", "no field asks for code from the repository")

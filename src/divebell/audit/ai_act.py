"""What the EU's AI Act asks to be documented of a general-purpose model, with what an audit knows of it.

Regulation (EU) 2024/1689, Annex XI section 1 and Annex XII (http://data.europa.eu/eli/reg/2024/1689/oj), the fields in
our words. Those who place a model on the market owe these documents; a page made from files is a start, not the duty.
"""

from dataclasses import dataclass

from divebell import __version__
from divebell.audit.audit import Audit
from divebell.text.markdown import table

NOT_KNOWN = "not known"
REGULATION = "http://data.europa.eu/eli/reg/2024/1689/oj"


@dataclass(frozen=True, slots=True)
class Field:
    """annex: XI or XII. point: its number there. basis: "files", "stated" (by maker or licence), "measured" (here), or
    None."""

    annex: str
    point: str
    asks: str
    answer: str = NOT_KNOWN
    basis: str | None = None


def fields(audit: Audit) -> list[Field]:
    """Annex XI section 1, then Annex XII. What files can't tell is NOT_KNOWN, with no basis."""
    shape, context = _shape(audit), _context(audit)
    licence = _licence(audit)
    uses = _stated("; ".join(use for one in audit.licences for use in one.restrictions))
    formats = ("text in and out, as token ids; chat by the model's template", "files")
    origin = _stated(", ".join(filter(None, (audit.source, audit.revision and f"revision {audit.revision}"))))
    data = _data(audit)
    means = (f"divebell {__version__}; any program that reads {_containers(audit)}", "files")
    return [
        Field("XI", "1(a)", "tasks, and systems it can be part of"),
        Field("XI", "1(b)", "acceptable uses", *uses),
        Field("XI", "1(c)", "date of release and ways of distribution", *origin),
        Field("XI", "1(d)", "architecture and number of parameters", *shape),
        Field("XI", "1(e)", "modality and format of inputs and outputs", *formats),
        Field("XI", "1(f)", "licence", *licence),
        Field("XI", "2(a)", "technical means needed to integrate it", *means),
        Field("XI", "2(b)", "design and training: methods, choices, what is optimised", *_stated(_base(audit))),
        Field("XI", "2(c)", "data for training, testing, validation", *data),
        Field("XI", "2(d)", "computation used for training", *_stated(audit.measured.gpu_hours)),
        Field("XI", "2(e)", "energy consumption, known or estimated", *_energy(audit)),
        Field("XII", "1(a)", "tasks, and systems it can be part of"),
        Field("XII", "1(b)", "acceptable uses", *uses),
        Field("XII", "1(c)", "date of release and ways of distribution", *origin),
        Field("XII", "1(d)", "how it interacts with hardware and software outside it", *_tools(audit)),
        Field("XII", "1(e)", "versions of software that it is used with", f"divebell {__version__}", "files"),
        Field("XII", "1(f)", "architecture and number of parameters", *shape),
        Field("XII", "1(g)", "modality and format of inputs and outputs", *formats),
        Field("XII", "1(h)", "licence", *licence),
        Field("XII", "2(a)", "technical means needed to integrate it", *means),
        Field("XII", "2(b)", "modality, format and largest size of inputs and outputs", *context),
        Field("XII", "2(c)", "data for training, testing, validation", *data),
    ]


def page(audit: Audit) -> str:
    """The fields as Markdown."""
    listed = fields(audit)
    known = sum(field.basis is not None for field in listed)
    head = f"# {audit.name}: fields of the EU AI Act, Annexes XI and XII\n\n"
    text = (
        f"Regulation (EU) 2024/1689 ({REGULATION}), the fields in our words. {known} of {len(listed)} could be filled "
        f"on {audit.made:%Y-%m-%d} from the model's files, from what is stated of it and from what was measured on "
        "this machine; the rest only its maker knows. Not legal advice.\n\n"
    )
    rows = [(one.annex, one.point, one.asks, one.answer, one.basis or "") for one in listed]
    return head + text + table(("annex", "point", "asks for", "answer", "basis"), rows) + "\n"


def _stated(text: str) -> tuple[str, str] | tuple[()]:
    return (text, "stated") if text else ()


def _shape(audit: Audit) -> tuple[str, str] | tuple[()]:
    shape = audit.description
    if shape is None:
        return ()
    counts = f"{shape.parameters:,} parameters, {shape.active_parameters:,} of them for each token"
    return f"{shape.architecture}, {shape.layers} layers, {counts}", "files"


def _context(audit: Audit) -> tuple[str, str] | tuple[()]:
    return (
        (f"text; {audit.description.max_positions:,} tokens in and out together", "files") if audit.description else ()
    )


def _licence(audit: Audit) -> tuple[str, str] | tuple[()]:
    return _stated(" and ".join(f"{one.title} ({one.source})" for one in audit.licences))


def _data(audit: Audit) -> tuple[str, str] | tuple[()]:
    """Of testing what was tested here; of training how much the maker published."""
    found = audit.measured
    tested = f"tested here: {'. '.join(map(str, found.scores))}" if found.scores else ""
    basis = ", ".join(name for name, text in (("stated", found.training_tokens), ("measured", tested)) if text)
    return (". ".join(filter(None, (found.training_tokens, tested))), basis) if basis else ()


def _energy(audit: Audit) -> tuple[str, str] | tuple[()]:
    found = audit.measured.energy
    return (f"{found}; that of training is {NOT_KNOWN}", "measured") if found else ()


def _containers(audit: Audit) -> str:
    suffixes = {file.name.rpartition(".")[2] for file in audit.files}
    return " and ".join(sorted(suffixes & {"gguf", "safetensors"})) or "its files"


def _base(audit: Audit) -> str:
    return f"made from {audit.base}" if audit.base else ""


def _tools(audit: Audit) -> tuple[str, str] | tuple[()]:
    if any("tools" in source for source in audit.templates.values()):
        return "its chat template takes descriptions of tools, and the model may ask for calls of them", "files"
    return ("its chat template has no place for tools", "files") if audit.templates else ()

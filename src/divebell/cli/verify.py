"""divebell verify."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from divebell.errors import BadInput, Mismatch

if TYPE_CHECKING:
    from divebell.text.tokenizer import Tokenizer


def verify(
    model: str,
    /,
    *,
    against: str,
    weights: str = "stored",
    against_weights: str = "f32",
    cache: str | None = None,
    text: Path | None = None,
    tokens: int = 16384,
    within: float = 0.05,
    seed: int = 0,
    threads: int | None = None,
    ram: str | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Tell whether a model is the same as a reference; exit with 1 if it is not.

    Both read one long text: how far their predictions are from each other, by position. Paths, hashes, shell lines and
    facts stand in it, and both are asked for each: what the reference knows, the model must know too.

    Parameters
    ----------
    model
        a catalogue name, a folder, a .gguf file, or a hub id
    against
        the reference, with the same tokenizer; it may be the same model
    weights
        of the model: stored (the file's own format), or convert to f32, bf16, q8 or q4
    against_weights
        of the reference
    cache
        of the model: f32, bf16, or for latents q8; by default f32 with f32 weights, else bf16
    text
        a text, UTF-8, to read; by default the reference writes one itself
    tokens
        of the text, at most; no more than the contexts of both hold
    within
        nats that the mean divergence may have at any depth
    seed
        of what is written and asked
    threads
        by default one for each core
    ram
        memory that each of the two may take, such as 16GiB
    out
        a folder for the card: verify.json, verify.md
    json
        print a JSON object
    """
    from divebell.cli.output import print_json
    from divebell.evaluate import verify_card
    from divebell.evaluate.exam import ROOM, check_length, exam
    from divebell.evaluate.verify import check_tokenizers, compare, observe, written

    if not within >= 0:
        raise BadInput(f"within is {within}; it must be 0 or more nats")
    reference_path, reference_files, longest, tokenizer = _opened(against)
    model_path, model_files, longest_of_model, tokenizer_of_model = _opened(model)
    check_tokenizers(tokenizer, tokenizer_of_model, seed)
    tokens = min(tokens, longest - ROOM, longest_of_model - ROOM)
    check_length(tokens)
    given = tokenizer.encode(_read(text), add_special_tokens=False) if text else None
    loading = {"threads": threads, "ram": ram, "context": tokens + ROOM}
    with _loaded(reference_path, against_weights, None, loading) as llm:
        read = written(llm, tokens, seed) if given is None else given
        asked = exam(llm.tokenizer, read, tokens, seed)
        expected = observe(llm, asked)
    with _loaded(model_path, weights, cache, loading) as llm:
        verdict = compare(expected, observe(llm, asked), asked, within)
    subject = verify_card.Subject(model, weights, cache or "by weights", verify_card.hashed_files(*model_files))
    files = verify_card.hashed_files(*reference_files)
    reference = verify_card.Subject(against, against_weights, "by weights", files)
    card = verify_card.signed(subject, reference, asked.ids, str(text or "written by the reference"), verdict)
    if out:
        _write(card, out)
    print_json(card) if json else _show(card)
    if not verdict.same:
        raise Mismatch(f"{model} is not the same as {against}: {'; '.join(verdict.reasons)}")


def _opened(name: str) -> "tuple[Path, tuple[Path, list[Path]], int, Tokenizer]":
    """Where a model is, what its files are found by, its longest context, its tokenizer; from the headers alone."""
    from divebell import models
    from divebell.text.tokenizer import load_tokenizer
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    path = resolve(name)
    checkpoint = open_checkpoint(path)
    try:
        longest = models.describe(checkpoint).max_positions
        return path, (path, checkpoint.files), longest, load_tokenizer(checkpoint)
    finally:
        checkpoint.close()


def _loaded(path: Path, weights: str, cache: str | None, loading: dict[str, object]):
    import divebell

    return divebell.load(path, weights=weights, cache=cache, **loading)


def _read(file: Path) -> str:
    from divebell.cli.run import decoded

    return decoded(file.read_bytes(), str(file))


def _write(card: dict, out: Path) -> None:
    from divebell.evaluate.verify_card import markdown

    out = out.expanduser()
    out.mkdir(parents=True, exist_ok=True)
    (out / "verify.json").write_text(dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "verify.md").write_text(markdown(card), encoding="utf-8")


def _show(card: dict) -> None:
    from divebell.cli.output import print_fields, print_table
    from divebell.evaluate.verify_card import copies

    rows = [
        (f"{one['first']:,} to {one['end'] - 1:,}", one["mean"], one["percentile_99"], one["same_best"])
        for one in card["divergence"]
    ]
    print_table(("positions", "nats", "99th percentile", "same best"), rows)
    print_table(("copied or recalled", "asked", "reference", "model", "lost"), copies(card))
    said = f"the same within {card['within']:g} nats" if card["same"] else "not the same"
    print_fields([("verdict", said), ("card", card["sha256"])])

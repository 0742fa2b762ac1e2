"""divebell run."""

import sys
from dataclasses import asdict
from pathlib import Path

from divebell.cli.chat import summary
from divebell.cli.options import Choice, Loading
from divebell.cli.output import print_json
from divebell.engine.completion import Completion
from divebell.engine.sampler import TokenLogprob
from divebell.errors import BadInput


def run(
    model: str,
    text: str | None = None,
    /,
    *,
    file: Path | None = None,
    logprobs: int | None = None,
    ignore_eos: bool = False,
    json: bool = False,
    choice: Choice | None = None,
    loading: Loading | None = None,
) -> None:
    """Continue a text, as it is and without a chat format. The continuation alone goes to stdout.

    Parameters
    ----------
    model
        a catalogue name, a folder, a .gguf file, or a hub id
    text
        what to continue; without it and without a file, stdin is read
    file
        a file with the text to continue
    logprobs
        with --json: so many of the likeliest tokens at each step, with their log-probabilities
    ignore_eos
        go on past the end of the text
    json
        print a JSON object with text, token ids, usage and timings
    """
    if logprobs is not None and not json:
        raise BadInput(f"logprobs is {logprobs}, which only JSON can show; give --json too")
    text = _text(text, file)
    options = (choice or Choice()).given() | {"logprobs": logprobs, "ignore_eos": ignore_eos}
    with (loading or Loading()).load(model) as llm:
        if json:
            print_json(fields(llm.generate(text, **options), llm.tokenizer))
        else:
            _stream(llm, text, options)


def _text(text: str | None, file: Path | None) -> str:
    if text is not None and file is not None:
        raise BadInput("give a text or a file to continue, not both")
    if text is not None:
        return text
    source = sys.stdin.buffer if file is None else file.open("rb")
    with source:
        return decoded(source.read(), "stdin" if file is None else str(file))


def decoded(data: bytes, name: str) -> str:
    """UTF-8 text. BadInput names the file and the place where it is not."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from error


def _stream(llm, text: str, options: dict[str, object]) -> None:
    with llm.stream(text, **options) as stream:
        try:
            for piece in stream:
                print(piece, end="", flush=True)
        finally:
            print(flush=True)
    print(f"[{summary(stream.completion)}]", file=sys.stderr)


def fields(completion: Completion, tokenizer) -> dict[str, object]:
    """A completion as plain data, with the sums and rates that are computed from it, and the text of tokens."""
    receipt, logprobs = completion.receipt, completion.logprobs
    return asdict(completion) | {
        "logprobs": None if logprobs is None else [_spelled(one, tokenizer) for one in logprobs],
        "usage": asdict(completion.usage) | {"total_tokens": completion.usage.total_tokens},
        "receipt": asdict(receipt)
        | {
            "seconds": receipt.seconds,
            "prompt_tokens_per_second": receipt.prompt_tokens_per_second,
            "tokens_per_second": receipt.tokens_per_second,
        },
    }


def _spelled(one: TokenLogprob, tokenizer) -> dict[str, object]:
    def token(token_id: int, logprob: float) -> dict[str, object]:
        return {"token_id": token_id, "text": tokenizer.token_text(token_id), "logprob": logprob}

    return token(one.token_id, one.logprob) | {"top": [token(*pair) for pair in one.top]}

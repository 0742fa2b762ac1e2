"""divebell chat."""

import sys
from contextlib import suppress

from divebell.cli.options import Choice, Loading
from divebell.config import plural
from divebell.engine.completion import Completion
from divebell.engine.conversation import Conversation
from divebell.errors import DivebellError
from divebell.weights.catalogue import DEFAULT

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def chat(
    model: str = DEFAULT,
    /,
    *,
    prompt: str | None = None,
    system: str | None = None,
    choice: Choice | None = None,
    loading: Loading | None = None,
) -> None:
    """Talk with a model in the terminal.

    Ctrl-C stops the answer, Ctrl-D leaves. What was computed for earlier turns is kept, so that each turn costs only
    its own tokens.

    Parameters
    ----------
    model
        a catalogue name, a folder, a .gguf file, or a hub id
    prompt
        answer this once and leave: the answer alone goes to stdout
    system
        instructions that come before the conversation
    """
    options = (choice or Choice()).given()
    with (loading or Loading()).load(model) as llm:
        conversation = llm.conversation(system)
        if prompt is not None:
            _answer(conversation, prompt, options)
        else:
            _talk(conversation, options)


def _talk(conversation: Conversation, options: dict[str, object]) -> None:
    while (line := _ask()) is not None:
        if not line.strip():
            continue
        try:
            _answer(conversation, line, options)
        except KeyboardInterrupt:
            _note("stopped")
        except DivebellError as error:
            _note(str(error))


def _ask() -> str | None:
    """One line from the person; None when they leave. Lines from a file or a pipe come without a prompt."""
    with suppress(ImportError):
        import readline  # noqa: F401 - gives input() line editing and history
    prompt, end = ("> ", "\n") if sys.stdin.isatty() else ("", "")
    while True:
        try:
            return input(prompt)
        except EOFError:
            print(end=end)
            return None
        except KeyboardInterrupt:
            print()


def _answer(conversation: Conversation, text: str, options: dict[str, object]) -> None:
    turn = conversation.say(text, **options)
    try:
        for piece in turn:
            _show(piece.text, piece.reasoning)
    finally:
        turn.close()
        if conversation.completion:
            print(flush=True)
    _note(summary(conversation.completion))


def _show(text: str, reasoning: bool) -> None:
    """The answer on stdout; reasoning, dimmed, on stderr."""
    if reasoning:
        print(_dim(text), end="", file=sys.stderr, flush=True)
    else:
        print(text, end="", flush=True)


def _note(text: str) -> None:
    print(_dim(f"[{text}]"), file=sys.stderr, flush=True)


def _dim(text: str) -> str:
    return f"{DIM}{text}{PLAIN}" if sys.stderr.isatty() else text


def summary(completion: Completion) -> str:
    """One line: tokens, speed, time, and whether the answer was cut."""
    receipt = completion.receipt
    new = receipt.prompt_tokens - receipt.cached_tokens
    cached = f" + {receipt.cached_tokens} kept" if receipt.cached_tokens else ""
    read = f"{new}{cached} tokens" if cached else plural(new, "token")
    prompt = f"prompt {read} at {receipt.prompt_tokens_per_second:.0f}/s"
    answer = f"answer {plural(receipt.completion_tokens, 'token')} at {receipt.tokens_per_second:.1f}/s"
    cut = ", cut at the limit" if completion.finish_reason == "length" else ""
    return f"{prompt}, {answer}, {receipt.seconds:.2f} s{cut}"

"""The command line: one file for each command, imported when that command is asked for.

Nothing is imported before `main`, which answers for an interruption.
"""

import sys

_OPTIONS = ("--help", "-h", "--version")
_COMMANDS = {
    "pull": "Fetch a model, verified by its SHA-256.",
    "chat": "Talk with a model in the terminal.",
    "run": "Continue a text.",
    "serve": "Serve models over HTTP, with OpenAI's and Anthropic's protocols.",
    "inspect": "Show what a model is, from its headers alone.",
    "audit": "Check a model's licence, origin, hashes, tensors and chat template.",
    "perplexity": "Score a model on a text.",
    "verify": "Tell whether a model is the same as a reference, to any depth.",
    "eval": "Score models on benchmarks, with intervals, costs and a paired test.",
    "quantize": "Write a model with 4 or 8 bits a weight.",
    "convert": "Turn a dense model's attention into latents (MLA).",
    "tune": "Train a model on your own rows: adapters, or all of it.",
    "merge": "Add an adapter into the weights: a checkpoint that transformers loads.",
    "synth": "Write a checkpoint of random weights at a config.json's shape.",
    "bench": "Time prompts and decoding, against the machine's floor.",
    "cache": "Show or delete what is kept on disk of computed prompts.",
    "plan": "Tell whether a model fits a machine, how fast it will be and what it costs.",
    "receipts": "Show what answers took: energy, carbon, money.",
    "worth": "Own or rent: the break-even, line by line.",
    "compare": "Show published figures of models, with sources, and where experts and latents pay.",
    "doctor": "Measure this machine and show what would run on it.",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command line (by default the process's own); the exit code.

    0: done. 1: it can't be done, with the reason on stderr. 2: the command line itself is wrong. 130: interrupted.
    """
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as interruption:
        return _fail(str(interruption) or "interrupted", 130)
    except BrokenPipeError:
        _stop_writing()
        return 141


def _stop_writing() -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from divebell.engine.garbage import uncollected
    from divebell.errors import DivebellError

    arguments = arguments or ["--help"]
    command = arguments[0]
    if command not in (*_COMMANDS, *_OPTIONS):
        return _fail(_unknown(command), 2)
    _log_to_stderr()
    try:
        with uncollected():
            asked, given, _ = _app(command).parse_args(arguments, exit_on_error=False, print_error=False)
        asked(*given.args, **given.kwargs)
        return 0
    except CycloptsError as error:
        return _fail(_wrong(error, command), 2)
    except DivebellError as error:
        return _fail(str(error), 1)
    except ImportError as error:
        if "DIVEBELL_ISA" not in str(error):
            raise
        return _fail(str(error), 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 1)


def _unknown(first: str) -> str:
    if not first.startswith("-"):
        return f"there is no command {first!r}; known: {', '.join(_COMMANDS)}"
    known = ", ".join(_OPTIONS)
    return f"there is no option {first!r} here; known: {known}. The options of a command come after its name"


def _app(command: str):
    """The program. A command that was asked for tells more of itself than the line that it has in the list."""
    from cyclopts import App, Parameter

    app = App(
        name="divebell",
        help="Run DeepSeek-class models on the CPU machine you have.",
        help_format="markdown" if command in _COMMANDS else "plaintext",  # markdown takes 0.1 s more
        version=_version,
        default_parameter=Parameter(negative_bool=(), show_default=_default),
        suppress_keyboard_interrupt=False,
    )
    for name, summary in _COMMANDS.items():
        app.command(f"divebell.cli.{name}:{name}", name=name, help=None if name == command else summary)
    return app


def _default(value: object) -> str | None:
    """How help shows a default; one that is nothing, such as a flag that is off, is not shown."""
    return None if value is None or value is False or value == () else str(value)


def _wrong(error: Exception, command: str) -> str:
    """What is wrong with a command line, and where to see what is right."""
    from cyclopts import UnusedCliTokensError

    if isinstance(error, UnusedCliTokensError):
        unused = ", ".join(map(repr, error.unused_tokens))
        problem = f"There is no place for {unused}; a text with spaces needs quotes around it."
    else:
        problem = str(error)
    asked = f" {command}" if command in _COMMANDS else ""
    return f"{problem} See: divebell{asked} --help"


def _version() -> str:
    from importlib.metadata import version

    return version("divebell")


def _fail(message: str, code: int) -> int:
    print(f"divebell: {message}", file=sys.stderr)
    return code


def _log_to_stderr() -> None:
    """What the library reports while it works (a download begun, a source passed over) is for the person at hand."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("divebell: %(message)s"))
    log = logging.getLogger("divebell")
    log.handlers, log.level, log.propagate = [handler], logging.INFO, False

"""What a person is told when something can't be done: what, which value, what is allowed, what to do.

Every error that divebell raises on purpose is a `DivebellError`; anything else that reaches a person is our bug.
"""

from pathlib import Path


class DivebellError(Exception):
    """The root of divebell's errors."""


class BadFile(DivebellError):
    """A file breaks its own format. Names the file and the field."""

    def __init__(self, path: Path | str, field: str, problem: str):
        super().__init__(f"{path}: {field}: {problem}")
        self.path, self.field, self.problem = Path(path), field, problem


class Unsupported(DivebellError):
    """A well-formed thing that divebell does not know: a number format, an architecture, a tokenizer, a field."""

    def __init__(
        self, what: str, value: object, known: "list[str] | tuple[str, ...]" = (), path: Path | str | None = None
    ):
        place = f"{path}: " if path else ""
        allowed = f"; known: {', '.join(sorted(known))}" if known else ""
        shown = repr(value)
        shown = shown if len(shown) <= 120 else f"{shown[:120]}…"  # files choose values
        super().__init__(f"{place}{what} {shown} is not supported{allowed}")
        self.what, self.value, self.known = what, value, tuple(known)


class NoSandbox(Unsupported):
    """Generated code is not run, because here it would not be contained."""

    def __init__(self, problem: str):
        advice = "it needs Linux with bubblewrap (on Debian: sudo apt-get install bubblewrap) that may make namespaces"
        DivebellError.__init__(self, f"there is no sandbox for generated code: {problem}; {advice}")
        self.what, self.value, self.known = "sandbox", problem, ()


class Mismatch(DivebellError):
    """Weights and configuration contradict each other: a missing tensor, one too many, a wrong shape, NaN."""


class BadInput(DivebellError, ValueError):
    """An argument or request that can't be served: names the argument, the value and what is allowed."""


class TooLong(BadInput):
    """A prompt has more tokens than the context holds."""


class BadTemplate(DivebellError):
    """A chat template that does not parse, reaches for what it may not, or does not end."""


class PullError(DivebellError):
    """A model could not be fetched: every source tried, and why each failed; or its SHA-256 is wrong."""


class OverBudget(DivebellError):
    """More memory than allowed would be needed; the message shows the sum."""


class EndpointError(DivebellError):
    """A server elsewhere gave no answer that can be used: its address, what came, how often it was asked.

    status: of HTTP, where that is what came.
    """

    def __init__(self, problem: str, status: int | None = None):
        super().__init__(problem)
        self.status = status

"""One budget of memory for weights, cache and workspace."""

from collections.abc import Mapping
from dataclasses import dataclass

from divebell.config import available_memory, format_bytes, parse_bytes
from divebell.engine.cache import PAGE, pages_for
from divebell.errors import BadInput, OverBudget

MOST_CONTEXTS = 16  # full-length requests in the cache at once; more room than this is not reserved
SHORTEST = 2  # tokens of a context: one to read, and one to answer


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes. ram: what all may take together. workspace: by what it is for. adapters: those that are there at first."""

    ram: int
    weights: int
    page: int
    workspace: Mapping[str, int]
    adapters: int = 0

    def plan(self, context: int | None, longest: int) -> tuple[int, int]:
        """(context in tokens, pages of the cache): `context`, or as much of the model's longest as fits.

        Raises OverBudget with the sum, BadInput for a context that the model can't have.
        """
        if context is not None and not (_is_integer(context) and SHORTEST <= context <= longest):
            raise BadInput(
                f"context is {context!r}; it must be {SHORTEST} (a token and its answer) to {longest} tokens, "
                "the most that this model takes"
            )
        fit = self._pages()
        if fit < pages_for(context or 1):
            raise OverBudget(self._sum(context or PAGE))
        context = context or min(longest, fit * PAGE)
        return context, min(fit, MOST_CONTEXTS * pages_for(context))

    def _pages(self) -> int:
        """Pages of the cache that fit; negative where not even the rest does."""
        return (self.ram - self.weights - sum(self.workspace.values()) - self.adapters) // self.page

    def _sum(self, context: int) -> str:
        cache = pages_for(context) * self.page
        parts = {
            "weights": self.weights,
            **({"adapters": self.adapters} if self.adapters else {}),
            f"cache of {context} tokens": cache,
            "workspace": sum(self.workspace.values()),
        }
        text = _listed(parts, " + ") + f" ({_listed(self.workspace, ', ')})"
        smaller = "a smaller context or " if self._pages() > 0 else ""
        return (
            f"{text} = {format_bytes(sum(parts.values()))}, and {format_bytes(self.ram)} may be used; "
            f"take {smaller}weights of fewer bits, or give more ram"
        )


def _listed(parts: Mapping[str, int], between: str) -> str:
    return between.join(f"{name} {format_bytes(size)}" for name, size in parts.items())


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def usable_ram(ram: "int | str | None") -> int:
    """Bytes: `ram` as asked for, but never more than the machine has available; by default nine tenths of that."""
    available = available_memory()
    return int(available * 0.9) if ram is None else min(parse_bytes(ram), available)

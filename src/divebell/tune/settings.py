"""How a run trains; nothing here needs torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from divebell.errors import BadInput

METHODS = {"full": 2e-5, "lora": 2e-4, "qlora": 2e-4, "dpo": 5e-5}  # with the usual rate at the peak
OPTIMIZERS = ("adamw", "muon")
KINDS = ("attention", "mlp", "experts", "shared_experts")
TARGETS = (*KINDS, "router")
_OF_SOME = {"beta": ("dpo",)}  # settings that other methods have no use for


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What makes two runs on the same model and rows the same.

    Parameters
    ----------
    held_out
        rows to evaluate on; by default the last twentieth of DATA, 64 rows at most
    epochs
        how often all rows are seen
    steps
        of the optimizer; by default what epochs come to
    batch
        rows of a step
    pack
        tokens that are run at once, rows side by side; more are faster and take more memory
    context
        tokens of a row at most
    rate
        the learning rate at its peak; by default 2e-4 for lora and qlora, 5e-5 for dpo, 2e-5 for full
    optimizer
        adamw or muon
    rank
        of an adapter's matrices
    alpha
        an adapter counts alpha / rank times
    targets
        what gets adapters: attention, mlp, experts, shared_experts, router; may be given several times
    beta
        dpo: the larger, the less an answer's likelihood has to move from the base's; by default 0.1
    seed
        the same seed gives the same run
    """

    held_out: Path | None = None
    epochs: float = 1.0
    steps: int | None = None
    batch: int = 8
    pack: int = 1024
    context: int = 1024
    rate: float | None = None
    optimizer: str = "adamw"
    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = KINDS
    beta: float | None = None
    seed: int = 0

    def check(self, method: str) -> None:
        """BadInput naming what can't be."""
        if method not in METHODS:
            raise BadInput(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
        for name, methods in _OF_SOME.items():
            if method not in methods and getattr(self, name) != getattr(type(self), name):
                raise BadInput(f"{name} is given, and {method} has no use for it; it is for {' and '.join(methods)}")
        if self.optimizer not in OPTIMIZERS:
            raise BadInput(f"optimizer is {self.optimizer!r}; it must be one of {', '.join(OPTIMIZERS)}")
        for name in ("epochs", "steps", "batch", "pack", "context", "rate", "rank", "alpha", "beta"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadInput(f"{name} is {value}; it must be above 0")
        if unknown := [target for target in self.targets if target not in TARGETS]:
            raise BadInput(f"targets has {unknown[0]!r}; known: {', '.join(TARGETS)}")

    def described(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value

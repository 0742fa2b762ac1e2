"""How a run trains; nothing here needs torch."""

from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from divebell.errors import BadInput
from divebell.tune.rewards import REWARDS

METHODS = {  # with the usual rate at the peak
    "full": 2e-5,
    "lora": 2e-4,
    "qlora": 2e-4,
    "dpo": 5e-5,
    "grpo": 5e-5,
    "new": 1e-3,
}
OPTIMIZERS = ("adamw", "muon")
KINDS = ("attention", "mlp", "experts", "shared_experts")
TASK_EXPERTS = "task_experts"
TARGETS = (*KINDS, TASK_EXPERTS, "router")
_ABOVE_0 = ("epochs", "steps", "batch", "pack", "context", "rate", "rank", "alpha", "answer_tokens", "clip", "updates")
_OF_TEACHERS = ("full", "lora", "qlora", "new")
_GRPO_ALONE = ("rewards", "group", "answer_tokens", "clip", "updates")
_FULL_ALONE = ("mtp", "balance", "sequence_balance")
_NOT_BELOW_0 = (*_FULL_ALONE, "seed")
_OF_SOME = {"beta": ("dpo", "grpo"), "tokenizer": ("new",)}  # others have no use for them
_OF_SOME |= {"expert_share": ("lora", "qlora"), "adapter": ("lora", "qlora", "dpo", "grpo")}
_OF_SOME |= dict.fromkeys(("teacher", "labels"), _OF_TEACHERS)
_OF_SOME |= dict.fromkeys(_GRPO_ALONE, ("grpo",)) | dict.fromkeys(_FULL_ALONE, ("full", "new"))
_OF_ADAPTERS = ("rank", "alpha", "targets")  # which one to go on from has itself


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
        the learning rate at its peak; by default 2e-4 for lora and qlora, 5e-5 for dpo and grpo, 2e-5 for full, 1e-3
        for new
    optimizer
        adamw or muon
    adapter
        lora, qlora, dpo, grpo: a folder with an adapter of the model to go on from, with its rank, alpha and targets
    rank
        of an adapter's matrices
    alpha
        an adapter counts alpha / rank times
    teacher
        full, lora, qlora, new: a model with the same vocabulary, whose likelihoods of every token are learned in place
        of the rows' own tokens
    labels
        with a teacher: how much the rows' own tokens count beside it, from 0 to below 1
    tokenizer
        new: the model whose tokenizer it gets; by default the teacher's, or one that is trained on the texts
    mtp
        full, new: how much the token after the next counts, where a model has a layer that tells it; 0 leaves that
        layer out
    balance
        full, new: how far a router's biases move after a step, towards experts with fewer tokens; by default 0.001 for
        new, else 0
    sequence_balance
        full, new: factor of the loss that evens experts' loads within a row; by default 0.0001 for new, else 0
    targets
        what gets adapters: attention, mlp, experts, shared_experts, router, or of experts only those that the rows
        use, task_experts; may be given several times
        full: all is trained, but a router that tells nothing but an order only where it is named
    expert_share
        task_experts: of each layer the fewest experts that have this share of the tokens' choices
    beta
        dpo: the larger, the less an answer's likelihood has to move from the base's; by default 0.1
        grpo: the weight of the divergence from the base; by default 0.001
    rewards
        grpo: rules whose rewards are added up: answer, format; may be given several times
    group
        grpo: answers to a prompt, which are compared with each other
    answer_tokens
        grpo: tokens of an answer at most
    clip
        grpo: an answer's ratio of likelihoods, now to when it was drawn, counts within 1 - clip and 1 + clip
    updates
        grpo: of the optimizer, from the same answers
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
    adapter: Path | None = None
    rank: int = 16
    alpha: float = 32.0
    teacher: str | None = None
    labels: float = 0.0
    tokenizer: str | None = None
    mtp: float = 0.3
    balance: float | None = None
    sequence_balance: float | None = None
    targets: tuple[str, ...] = KINDS
    expert_share: float = 0.2
    beta: float | None = None
    rewards: tuple[str, ...] = ("answer",)
    group: int = 8
    answer_tokens: int = 256
    clip: float = 0.2
    updates: int = 1
    seed: int = 0

    def check(self, method: str) -> None:
        """BadInput naming what can't be."""
        if method not in METHODS:
            raise BadInput(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
        for name, methods in _OF_SOME.items():
            if method not in methods and getattr(self, name) != getattr(type(self), name):
                raise BadInput(f"{name} is given, and {method} has no use for it; it is for {' and '.join(methods)}")
        for name in _OF_ADAPTERS if self.adapter else ():
            if getattr(self, name) != getattr(type(self), name):
                raise BadInput(f"{name} is given beside an adapter to go on from, which has its own; leave {name} out")
        self._check_numbers()
        self._check_names()
        self._check_targets(method)
        if not 0 <= self.labels < 1:
            raise BadInput(f"labels is {self.labels}; it must be at least 0 and below 1")
        if self.labels and not self.teacher:
            raise BadInput(f"labels is {self.labels}, and there is no teacher beside which they count; give --teacher")
        if self.beta is not None and (not 0 <= self.beta < inf or (self.beta == 0 and method == "dpo")):
            raise BadInput(f"beta is {self.beta}; it must be above 0{', or 0' if method == 'grpo' else ''}")
        if self.group < 2:
            raise BadInput(f"group is {self.group}; it must be at least 2, as answers are compared with each other")

    def _check_numbers(self) -> None:
        from divebell.weights.adapter import MOST_ALPHA, MOST_RANK  # with numpy, which no help needs

        limits = {"rank": MOST_RANK, "alpha": MOST_ALPHA}
        for name in _ABOVE_0:
            value, most = getattr(self, name), limits.get(name, inf)
            if value is not None and not (0 < value <= most and isfinite(value)):
                limit = "a finite number" if most == inf else f"at most {most:,.0f}"
                raise BadInput(f"{name} is {value}; it must be above 0 and {limit}")
        for name in _NOT_BELOW_0:
            value = getattr(self, name)
            if value is not None and not 0 <= value < inf:
                raise BadInput(f"{name} is {value}; it must be at least 0")

    def _check_names(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise BadInput(f"optimizer is {self.optimizer!r}; it must be one of {', '.join(OPTIMIZERS)}")
        if not self.rewards:
            raise BadInput(f"rewards is empty; give some of {', '.join(REWARDS)}")
        for field, known in (("targets", TARGETS), ("rewards", REWARDS)):
            if unknown := [name for name in getattr(self, field) if name not in known]:
                raise BadInput(f"{field} has {unknown[0]!r}; known: {', '.join(known)}")

    def _check_targets(self, method: str) -> None:
        if not 0 < self.expert_share <= 1:
            raise BadInput(f"expert_share is {self.expert_share}; it must be above 0 and at most 1")
        if TASK_EXPERTS in self.targets and method not in _OF_SOME["expert_share"]:
            raise BadInput(f"targets has {TASK_EXPERTS}, which are for {' and '.join(_OF_SOME['expert_share'])}")
        if method in ("full", "new") and self.targets not in (KINDS, ("router",)):
            raise BadInput(f"targets is {', '.join(self.targets)}; {method} trains all: leave it out, or give router")
        if {TASK_EXPERTS, "experts"} <= set(self.targets):
            raise BadInput(f"targets has experts and {TASK_EXPERTS}; give one of them")

    def described(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value

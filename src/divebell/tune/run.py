"""A run from its settings to what it leaves: data read, memory checked, steps, evaluations, states, the result."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from safetensors import SafetensorError

from divebell import models
from divebell.config import available_memory, parse_bytes
from divebell.engine.allocator import give_back_at_once
from divebell.engine.identity import file_identity
from divebell.errors import BadInput
from divebell.models import mtp
from divebell.models.write import check_room
from divebell.text.chat import load_chat
from divebell.text.tokenizer import load_tokenizer
from divebell.tune.blank import Blank
from divebell.tune.continued import Continued
from divebell.tune.data import Speaker, read_texts
from divebell.tune.dpo import Dpo
from divebell.tune.experts import experts_of
from divebell.tune.full import Full
from divebell.tune.grpo import Grpo
from divebell.tune.loop import Step, train
from divebell.tune.lora import Lora
from divebell.tune.model import Trainee
from divebell.tune.objective import Objective
from divebell.tune.optimizer import Optimizer, rate_at
from divebell.tune.plan import Passes, Plan, plan
from divebell.tune.record import Record
from divebell.tune.samples import shuffled
from divebell.tune.settings import METHODS, TARGETS, TASK_EXPERTS, Settings
from divebell.tune.state import restore_state, save_state
from divebell.tune.teacher import Teacher
from divebell.tune.whole import Texts, Whole
from divebell.weights.adapter import CONFIG, WEIGHTS, read_adapter
from divebell.weights.checkpoint import Checkpoint, open_checkpoint
from divebell.weights.mapped import draft
from divebell.weights.pull import resolve
from divebell.weights.store import sha256_of
from divebell.weights.strict_json import read_object

_OBJECTIVES = {"full": Whole, "new": Texts, "dpo": Dpo, "grpo": Grpo}
EXPERTS = "experts.json"
_HELD_OUT_SHARE, _MOST_HELD_OUT = 0.05, 64
_EVALUATIONS = 10  # in a run
_SAVE_SECONDS = 60.0
_TIGHT = 0.5  # of the memory that may be taken; below it what an allocator keeps does no harm, and saves time
_PIECE = 1 << 20  # bytes: activations are larger
_BEGUN = 8  # bytes of a number that is gone on from: as it was read, and as what is compared with
_STORED = 28  # bytes of a trained number on disk: two states while one replaces the other, and what comes of it


class Run:
    """Prepared, with nothing written. Raises a DivebellError where it can't be done.

    ram: what it may take, such as "6GiB"; by default nine tenths of what is available. save_seconds: between states.
    """

    def __init__(
        self,
        method: str,
        model: str,
        data: Path | Sequence[Path],
        settings: Settings,
        ram: str | None = None,
        save_seconds: float = _SAVE_SECONDS,
    ):
        settings.check(method)
        torch.manual_seed(settings.seed)
        self.settings, self._save_seconds = settings, save_seconds
        self._files = [data] if isinstance(data, Path) else list(data)
        self._told = {"method": method, "model": model, "data": list(map(str, self._files))} | settings.described()
        self._peak = settings.rate or METHODS[method]
        self.checkpoint = self._open(model)
        if method != "new":
            self._told |= {"model_files": [file_identity(file) for file in self.checkpoint.files]}
        self._tokenizer = load_tokenizer(self.checkpoint)
        self.objective = _OBJECTIVES.get(method, Objective)(settings)
        if settings.teacher:
            self.objective.aim = Teacher(settings.teacher, self._tokenizer, settings.labels)
        self.training, self.held_out = self._samples()
        self._check_tokens()
        self._told |= {"data_sha256": [sha256_of(file) for file in [*self._files, *filter(None, [settings.held_out])]]}
        self.method, self.trainee = self._method(method), None
        self._ram = parse_bytes(ram) if ram else int(available_memory() * 0.9)
        if TASK_EXPERTS in settings.targets:
            self._choose_experts()
        self.plan = self._plan()

    @property
    def steps(self) -> int:
        return self.settings.steps or self.plan.steps

    def example(self) -> str:
        """The first row's text, its trained stretches between ⟦ and ⟧."""
        return self.objective.example(self.training[0], self._tokenizer)

    def done(self, out: Path) -> bool:
        """Whether what comes of it is there."""
        return self.method.place(self.checkpoint.kind, out).exists()

    def train(self, out: Path) -> Iterator[dict[str, Any]]:
        """Figures of each step, as they are recorded; what comes of it is in `out` when it ends.

        A run that was broken off continues from its last state. Raises BadInput where another process is at it, or what
        there is in `out` is of other settings, rows or weights, and where the disk has no room.
        """
        record = Record(out, self._told)
        with record.held():
            if self.done(out):
                raise BadInput(f"{out} holds a run that is done; give another --out")
            check_room(out, _STORED * self.plan.trained)
            try:
                yield from self._trained(record, out)
            except SafetensorError as error:
                told = (
                    f"{out} can't be written: {error}; what was saved before is kept: make room, and run it once more"
                )
                raise BadInput(told) from None

    def _trained(self, record: Record, out: Path) -> Iterator[dict[str, Any]]:
        if TASK_EXPERTS in self.settings.targets:
            self._settle_experts(out)
        self._load()
        optimizer = Optimizer(self.settings.optimizer, self.trained, self._peak)
        done = restore_state(out, self.trained, optimizer)
        record.begin(done)
        with self.objective.prepared(self.trainee, self.method, [*self.training, *self.held_out]):
            yield from self._steps(record, optimizer, done)
        save_state(out, self.steps, self.trained, optimizer)
        record.plot(self.objective.shown[0], self.objective.unit)
        self.result = self.method.save(self.trainee, out)

    def _steps(self, record: Record, optimizer: Optimizer, done: int) -> Iterator[dict[str, Any]]:
        chosen = shuffled(self.training, self.settings.batch, self.settings.seed, done)
        own, numbers = self.objective, range(done, self.steps)
        batches = (own.packs(rows, number) for number, rows in zip(numbers, chosen, strict=False))
        saved = perf_counter()
        for step in train(self.trainee, batches, own.loss, optimizer, self._rate, done, own.updates):
            figures = self._figures(step)
            record.add(figures)
            if perf_counter() - saved >= self._save_seconds:
                save_state(record.folder, step.number + 1, self.trained, optimizer)
                saved = perf_counter()
            yield figures

    def _figures(self, step: Step) -> dict[str, Any]:
        own = {"step": step.number, **step.means, "rate": step.rate, "norm": step.norm, "tokens": step.tokens}
        own |= {"learned": step.learned, "seconds": round(step.seconds, 3)} | self.objective.stepped()
        if self._due(step.number) and self.held_out:
            own |= self.objective.held_out(self.trainee, self.held_out)
        return own

    def _due(self, step: int) -> bool:
        """Before much is learned, at even distances, and at the end."""
        return step % max(1, self.steps // _EVALUATIONS) == 0 or step == self.steps - 1

    def _rate(self, step: int) -> float:
        return rate_at(step, self.steps, self._peak)

    def _open(self, model: str) -> Checkpoint:
        if self._told["method"] != "new":
            return open_checkpoint(resolve(model))
        texts = (text for file in self._files for text in read_texts(file))
        return Blank(Path(model), texts, self.settings)

    def _samples(self) -> tuple[list[Any], list[Any]]:
        """By default the last twentieth of each file is held out."""
        limits = [self.settings.context, models.describe(self.checkpoint).max_positions, self.objective.aim.longest]
        longest = min(limit for limit in limits if limit)
        speaker = Speaker(self._tokenizer, load_chat(self.checkpoint, self._tokenizer), longest)
        files = [self.objective.read(file, speaker) for file in self._files]
        if self.settings.held_out:
            return [row for rows in files for row in rows], self.objective.read(self.settings.held_out, speaker)
        held_out = [min(_MOST_HELD_OUT // len(files), int(len(rows) * _HELD_OUT_SHARE)) for rows in files]
        pairs = list(zip(files, held_out, strict=True))
        kept = [row for rows, count in pairs for row in rows[: len(rows) - count]]
        return kept, [row for rows, count in pairs for row in rows[len(rows) - count :]]

    def _check_tokens(self) -> None:
        """A tokenizer may have been given more tokens than the model has."""
        known = models.describe(self.checkpoint).vocabulary
        if (highest := max(row.highest for row in [*self.training, *self.held_out])) >= known:
            named = f"{highest} ({self._tokenizer.decode([highest], skip_special_tokens=False)!r})"
            told = f"rows have token {named}, and the model has 0 to {known - 1}"
            raise BadInput(f"{told}; leave that out of the rows, or give the model a tokenizer of its own tokens")

    def _method(self, name: str) -> Full | Lora:
        if name in ("full", "new"):
            return Full("router" in self.settings.targets)
        weights = "bf16" if name == "lora" else "stored"
        if self.settings.adapter:
            return self._continued(self.settings.adapter, weights)
        kinds = tuple("experts" if target == TASK_EXPERTS else target for target in self.settings.targets)
        return Lora(self.settings.rank, self.settings.alpha, kinds, weights)

    def _continued(self, folder: Path, weights: str) -> Continued:
        method = Continued(read_adapter(folder), weights)
        method.check(self.checkpoint)
        self._told |= {"adapter_sha256": [sha256_of(folder / file) for file in (CONFIG, WEIGHTS)]}
        return method

    def _choose_experts(self) -> None:
        """Reads the model, if it fits with one expert of each layer."""
        module, config = models.architecture(self.checkpoint.architecture), models.configuration(self.checkpoint)
        stacks = [p.name.partition("experts")[0] for p in module.parameters(config) if p.is_stack]
        self.method.experts = dict.fromkeys(stacks, (0,))
        self._plan()
        self.trainee, own = Trainee(self.checkpoint, self.method.weights), self.settings
        rows = next(shuffled(self.training, len(self.training), own.seed))
        self.method.experts = experts_of(self.trainee, rows, own.expert_share, own.pack)

    def _settle_experts(self, out: Path) -> None:
        """A run goes on with the experts that it began with."""
        path = out / EXPERTS
        if path.is_file():
            self.method.experts = read_object(path, "experts")
        else:
            with draft(path) as part:
                part.write_text(json.dumps(self.method.experts) + "\n", encoding="utf-8")

    def _plan(self) -> Plan:
        own, passes = self.settings, self._passes()
        module, config = models.architecture(self.checkpoint.architecture), models.configuration(self.checkpoint)
        self._mtp = mtp.stored(module, config, self.checkpoint) if passes.everything and own.mtp else []
        numbers = self.method.size(module.parameters(config) + self._mtp)
        if not numbers:
            raise BadInput(f"the model has nothing of {', '.join(own.targets)}; known targets: {', '.join(TARGETS)}")
        further = self.objective.memory(models.describe(self.checkpoint), [*self.training, *self.held_out])
        further |= {"adapter": _BEGUN * numbers} if own.adapter else {}
        whole = plan(self.checkpoint, self.method.weights, numbers, passes, self.training, own, self._ram, further)
        whole.check(self._ram)
        return whole

    def _passes(self) -> Passes:
        return Passes(isinstance(self.method, Full), self.objective.forwards, self.objective.aim.multiply_adds)

    def _load(self) -> None:
        if self.plan.bytes > self._ram * _TIGHT:
            give_back_at_once(_PIECE)
        self.trainee = self.trainee or Trainee(self.checkpoint, self.method.weights, bool(self._mtp))
        self.trained = self.method.attach(self.trainee)
        if self.plan.recompute:
            self.trainee.recompute_layers()

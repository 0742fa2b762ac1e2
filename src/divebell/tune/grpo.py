"""Group-relative policy optimisation (arXiv 2402.03300, 2501.12948): of several answers to a prompt, those that rules
reward more than the others become likelier. No network values them; the base holds them back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from divebell.text.tokenizer import Tokenizer
from divebell.tune.data import Speaker
from divebell.tune.lora import Lora
from divebell.tune.loss import log_probabilities
from divebell.tune.model import Trainee
from divebell.tune.objective import Objective
from divebell.tune.questions import Question, read_questions
from divebell.tune.rewards import REWARDS
from divebell.tune.rollouts import Rollouts, memory
from divebell.tune.samples import Pack, Sample, packed
from divebell.tune.settings import Settings

_BETA = 0.001
_LEAST_DEVIATION = 1e-6  # of rewards; where all are alike there is nothing to prefer


@dataclass(slots=True)
class Answer:
    """rewards: by rule. advantage: over the others to the same prompt, in their deviations.

    drawn, base: (learned,) float32, ln p of its tokens when it was drawn, and by the model that the run began with.
    """

    sample: Sample
    rewards: Mapping[str, float]
    advantage: float
    drawn: torch.Tensor
    base: torch.Tensor

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def learned(self) -> int:
        return self.sample.learned

    @property
    def terms(self) -> int:
        return 1


class Grpo(Objective):
    shown = ("reward", "kl", "loss")
    unit = "mean over answers"
    forwards = 3

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self._beta = _BETA if settings.beta is None else settings.beta

    @property
    def updates(self) -> int:
        return self.settings.updates

    def read(self, path: Path, speaker: Speaker) -> list[Question]:
        return read_questions(path, speaker, self.settings.answer_tokens)

    def example(self, row: Question, tokenizer: Tokenizer) -> str:
        return f"{tokenizer.decode(row.ids, skip_special_tokens=False)}⟦…⟧\nrewarded: {row.answer}"

    def memory(self, description: Any, rows: Sequence[Question]) -> dict[str, int]:
        return {"answers": memory(description, max(map(len, rows)))}

    @contextmanager
    def prepared(self, trainee: Trainee, method: Lora, rows: Sequence[Question]) -> Iterator[None]:
        self._trainee, self._rollouts = trainee, Rollouts(trainee, method, max(map(len, rows)))
        try:
            yield
        finally:
            self._rollouts.close()

    def packs(self, rows: Sequence[Question], step: int) -> list[Pack]:
        """Answers drawn by what the model is now; the same in every run that has come to this step in the same way."""
        asked = [question for question in rows for _ in range(self.settings.group)]
        seeds = np.random.default_rng([self.settings.seed, step]).integers(2**48, size=len(asked))
        ids = self._rollouts.answers(asked, seeds.tolist())
        rewards = [self._rewards(question, own) for question, own in zip(asked, ids, strict=True)]
        samples = [_sample(question, own) for question, own in zip(asked, ids, strict=True)]
        totals = [sum(own.values()) for own in rewards]
        weighed = zip(samples, rewards, advantages(totals, self.settings.group), strict=True)
        none = torch.empty(0)
        packs = packed([Answer(*own, none, none) for own in weighed], self.settings.pack)
        for pack in packs:
            self._remember(pack)
        return packs

    @torch.no_grad()
    def _remember(self, pack: Sequence[Answer]) -> None:
        samples = [answer.sample for answer in pack]
        drawn = log_probabilities(self._trainee, samples)
        with self._trainee.as_it_began():
            base = log_probabilities(self._trainee, samples)
        for answer, own, begun in zip(pack, drawn, base, strict=True):
            answer.drawn, answer.base = own, begun

    def loss(self, trainee: Trainee, answers: Sequence[Answer]) -> dict[str, torch.Tensor]:
        """Sums over the answers of beta * kl - gain, of kl, of how much was clipped (all means over an answer's
        tokens), and of the rewards."""
        found = zip(answers, log_probabilities(trainee, [answer.sample for answer in answers]), strict=True)
        parts = [self._terms(answer, now) for answer, now in found]
        sums = {name: torch.stack([part[name] for part in parts]).sum() for name in parts[0]}
        by_rule = {f"reward_{name}": sum(answer.rewards[name] for answer in answers) for name in answers[0].rewards}
        by_rule["reward"] = sum(by_rule.values())
        by_rule["length"] = sum(answer.learned for answer in answers)
        return sums | {name: torch.tensor(float(value)) for name, value in by_rule.items()}

    def _terms(self, answer: Answer, now: torch.Tensor) -> dict[str, torch.Tensor]:
        ratio, bound = (now - answer.drawn).exp(), self.settings.clip
        free, held = ratio * answer.advantage, ratio.clamp(1 - bound, 1 + bound) * answer.advantage
        apart = answer.base - now
        kl = apart.exp() - apart - 1  # unbiased and never below 0 (Schulman, "Approximating KL divergence", k3)
        loss = self._beta * kl - torch.minimum(free, held)
        return {"loss": loss.mean(), "kl": kl.mean(), "clipped": (held < free).float().mean()}

    def held_out(self, trainee: Trainee, rows: Sequence[Question]) -> dict[str, float]:
        """The mean reward of the likeliest answers."""
        answers = self._rollouts.answers(rows, None)
        rewards = (self._rewards(question, ids) for question, ids in zip(rows, answers, strict=True))
        return {"held_out": sum(sum(own.values()) for own in rewards) / len(rows)}

    def _rewards(self, question: Question, ids: Sequence[int]) -> dict[str, float]:
        text = self._rollouts.text(question, ids)
        return {name: REWARDS[name](text, question.answer) for name in self.settings.rewards}


def advantages(rewards: Sequence[float], group: int) -> list[float]:
    """(r - mean) / deviation within each `group` of successive ones; 0 where all of a group are alike."""
    groups = np.asarray(rewards, np.float64).reshape(-1, group)
    centred = groups - groups.mean(1, keepdims=True)
    deviation = centred.std(1, keepdims=True)
    return np.where(deviation > _LEAST_DEVIATION, centred / np.maximum(deviation, _LEAST_DEVIATION), 0).ravel().tolist()


def _sample(question: Question, ids: Sequence[int]) -> Sample:
    whole = np.array([*question.ids, *ids], np.int32)
    return Sample(whole, np.arange(len(whole)) >= len(question.ids))

"""A model of divebell's as lm-eval sees it, and as a run of questions does."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import inf
from typing import Any

from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs

from divebell.engine.generation import Generation
from divebell.engine.identity import file_identity
from divebell.engine.llm import LLM
from divebell.engine.prompt import ChatPrompt
from divebell.engine.sequence import Sequence as Run
from divebell.errors import BadInput
from divebell.evaluate.cost import Cost
from divebell.evaluate.likelihood import Likelihood, readings
from divebell.evaluate.model import ANSWER_TOKENS, Answered
from divebell.evaluate.question import Question
from divebell.text.events import Content

AT_ONCE = 96  # the engine runs 64, and the next are there when some of them are done


class EngineLM(TemplateLM):
    """lm-eval's interface on divebell's engine, for `lm_eval.simple_evaluate(model=EngineLM(llm), ...)`.

    chat: texts come from `apply_chat_template`: they hold their begin token, and reasoning is left out of answers.
    """

    def __init__(self, llm: LLM, chat: bool = False):
        super().__init__()
        self.llm, self.chat = llm, chat

    @property
    def eot_token_id(self) -> int:
        tokenizer = self.llm.tokenizer
        return tokenizer.token_id(tokenizer.named_tokens.get("eos_token", "")) or min(tokenizer.eos_ids)

    @property
    def prefix_token_id(self) -> int:
        """What comes before a text that has nothing before it."""
        begin = self.llm.tokenizer.bos_id
        return self.eot_token_id if begin is None else begin

    @property
    def tokenizer_name(self) -> str:
        return next(iter(self.llm.info.files)).name

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_) -> list[int]:
        if add_special_tokens is None:
            begin = self.llm.tokenizer.named_tokens.get("bos_token")
            add_special_tokens = not self.chat and not (begin and string.startswith(begin))
        return self.llm.tokenizer.encode(string, add_special_tokens=add_special_tokens)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of a conversation; what the assistant has begun to say comes after its opening."""
        begun = "" if add_generation_prompt else chat_history[-1]["content"]
        return self.llm.chat_format.render(chat_history if add_generation_prompt else chat_history[:-1]) + begun

    def _loglikelihood_tokens(self, requests: Sequence[tuple], disable_tqdm: bool = False, **_) -> list:
        likelihoods = [Likelihood(context, wanted, self.llm.context) for _, context, wanted in requests]
        self.llm.engine.run(readings(likelihoods))
        return [likelihood.result for likelihood in likelihoods]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        windows = [self.windows(instance.args[0]) for instance in requests]
        self.llm.engine.run(readings([window for own in windows for window in own]))
        return [sum(window.logprob for window in own) for own in windows]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        generations = [self.generation(*instance.args[:2]) for instance in requests]
        self.llm.engine.run(generations)
        return [self.text(own, one.args[0]) for own, one in zip(generations, requests, strict=True)]

    def likelihood(self, context: str, continuation: str) -> Likelihood:
        """Tokens are split as lm-eval does it."""
        if context:
            return Likelihood(*self._encode_pair(context, continuation), self.llm.context)
        ids = self.tok_encode(continuation, add_special_tokens=False)
        begin = [] if ids[0] == self.prefix_token_id else [self.prefix_token_id]
        whole = [*begin, *ids]
        return Likelihood(whole[:1], whole[1:], self.llm.context)

    def windows(self, text: str) -> list[Likelihood]:
        """A long text in pieces that the model can read, each token once."""
        ids, most = self.tok_encode(text), self.llm.context
        pieces = utils.get_rolling_token_windows(ids, self.prefix_token_id, max_seq_len=most, context_len=1)
        return [Likelihood(*utils.make_disjoint_window(piece), most) for piece in pieces]

    def generation(self, context: str, wanted: dict[str, Any]) -> Generation:
        """An answer, not begun. Of a context that is too long the end counts. Raises BadInput where none can fit."""
        wanted = normalize_gen_kwargs(wanted, ANSWER_TOKENS)
        tokens, room = wanted["max_gen_toks"], self.llm.context - wanted["max_gen_toks"]
        if room < 1:
            raise BadInput(
                f"answers may have {tokens} tokens, but the context is {self.llm.context}; "
                "load the model with a larger --context, or give fewer --max-tokens"
            )
        ids = self.tok_encode(context)[-room:]
        options = {name: wanted[name] for name in ("temperature", "top_p", "top_k", "seed") if name in wanted}
        options |= {"max_tokens": tokens, "stop": [stop for stop in wanted["until"] if stop]}
        if self.chat:
            return self.llm.answer(ChatPrompt(context, ids), **options)[0]
        return self.llm.continuation(ids, **options)

    def text(self, generation: Generation, context: str) -> str:
        """Of an answer; what a model thought before it is left out."""
        if not self.chat:
            return generation.text.whole
        parser = self.llm.chat_format.parser(context)
        events = [*parser.push(generation.text.whole), *parser.flush()]
        return "".join(event.text for event in events if isinstance(event, Content))


class InProcess:
    """Answers questions on divebell's engine: many at once, in the order in which they are done.

    weights, settings: how the model was loaded, as far as answers depend on it.
    """

    def __init__(self, llm: LLM, name: str, weights: str, chat: bool = False, settings: Mapping[str, Any] = {}):
        self._lm = EngineLM(llm, chat)
        self.name, self.most = name, AT_ONCE
        files = {file.name: file_identity(file) for file in sorted(llm.info.files)}
        self.identity = {"files": files, "weights": weights, **settings}
        self.chat_template = self._lm.apply_chat_template if chat else None
        self._open: list[_Work] = []

    def begin(self, question: Question) -> None:
        work = _Work(self._lm, question)
        self._open.append(work)
        for run in work.runs:
            self._engine.start(run)

    def finished(self, until: float = inf) -> Iterator[Answered]:
        while self._open:
            if done := [work for work in self._open if work.done]:
                self._open = [work for work in self._open if work not in done]
                yield from (work.answered() for work in done)
                return
            if time.monotonic() >= until:
                return
            self._engine.step()

    def close(self) -> None:
        for run in [run for work in self._open for run in work.runs]:
            self._engine.remove(run)
        self._open = []

    @cached_property
    def _engine(self):
        return self._lm.llm.engine


class _Work:
    """What the engine runs for one question."""

    def __init__(self, lm: EngineLM, question: Question):
        self._lm, self.question = lm, question
        self._parts = [_part(lm, instance) for instance in question.instances]
        likelihoods = [one for part in self._parts if isinstance(part, list) for one in part]
        generations = [part for part in self._parts if isinstance(part, Generation)]
        self.runs: list[Run] = [*readings(likelihoods), *generations]

    @property
    def done(self) -> bool:
        """Raises what went wrong with any of it."""
        for run in self.runs:
            if run.error:
                raise run.error
        return all(run.finished for run in self.runs)

    def answered(self) -> Answered:
        parts = zip(self._parts, self.question.instances, strict=True)
        return Answered(self.question, [self._response(*pair) for pair in parts], _cost(self.runs))

    def _response(self, part: Any, instance: Instance) -> Any:
        if isinstance(part, Generation):
            return self._lm.text(part, instance.args[0])
        return sum(one.logprob for one in part) if instance.request_type == "loglikelihood_rolling" else part[0].result


def _part(lm: EngineLM, instance: Instance) -> Any:
    if instance.request_type == "generate_until":
        return lm.generation(*instance.args[:2])
    if instance.request_type == "loglikelihood_rolling":
        return lm.windows(instance.args[0])
    return [lm.likelihood(*instance.args)]


def _cost(runs: list[Run]) -> Cost:
    bills = [run.books.bill(run) or {} for run in runs]
    metered = all(bills)
    return Cost(
        seconds=sum(run.spent.seconds for run in runs),
        prompt_tokens=sum(run.given for run in runs),
        cached_tokens=sum(run.reused or 0 for run in runs),
        completion_tokens=sum(len(run.ids) - run.given for run in runs),
        joules=sum(bill["joules"] for bill in bills) if metered else None,
        grams_co2=sum(bill["grams_co2"] for bill in bills) if metered else None,
        dollars=sum(bill["all_in_dollars"] for bill in bills) if metered else None,
    )

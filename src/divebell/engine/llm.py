"""A loaded model, as people use it from Python."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from divebell.config import plural
from divebell.engine.adapters import check_name
from divebell.engine.cache import pages_for
from divebell.engine.completion import Completion
from divebell.engine.conversation import Conversation, Reply
from divebell.engine.engine import Engine, Stream
from divebell.engine.generation import Generation
from divebell.engine.grammar import Grammars
from divebell.engine.prompt import ChatPrompt, Limits
from divebell.engine.reading import Reading, Rows, Scores
from divebell.engine.sampling import CONSTRAINTS, Sampling
from divebell.engine.voice import Voice, is_beyond
from divebell.errors import BadInput, TooLong
from divebell.text.parser import Parser
from divebell.weights.adapter import read_adapter

Prompt = str | Sequence[int]


class LLM:
    """Made by `divebell.load`. May be used from several threads; their requests then share the model's steps.

    Options of `generate`, `stream`, `chat` and `batch` are those of `divebell.engine.sampling.Sampling`, and `adapter`,
    the name of one that was loaded. Decoding is greedy unless they say otherwise; a chat without a temperature takes
    the sampling that is recommended for the model (generation_config.json, or the catalogue).
    """

    def __init__(self, engine: Engine, limits: Limits, voice: Voice, info: object, recommended: Mapping[str, object]):
        self._engine, self._limits, self._voice = engine, limits, voice
        self._recommended = recommended
        self.info = info

    @property
    def tokenizer(self):
        """The model's `divebell.text.tokenizer.Tokenizer`. Raises a DivebellError where its files have none."""
        return self._voice.tokenizer

    @property
    def engine(self) -> Engine:
        """What runs the requests: for those who lend it a thread of their own."""
        return self._engine

    @property
    def recommended(self) -> Mapping[str, object]:
        """Options that suit the model's chats; empty where nobody recommends any."""
        return self._recommended

    @property
    def chat_format(self):
        """The model's `divebell.text.chat.ChatFormat`."""
        return self._voice.chat

    @property
    def vocabulary(self) -> int:
        """Ids that the model has."""
        return self._limits.vocabulary

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return self._limits.context

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that requests may ask for."""
        return self._engine.adapters

    def add_adapter(self, name: str, path: Path | str) -> None:
        """Loads an adapter in peft's format beside the weights, which stay as they are; requests go on meanwhile.

        path: a folder with adapter_config.json and adapter_model.safetensors. Raises BadInput for a name or a path that
        can't be, BadFile, Unsupported or Mismatch for an adapter that can't be read or is another model's, OverBudget
        where it does not fit.
        """
        check_name(name)
        self._engine.add_adapter(name, read_adapter(path), pages_for(self.context))

    def drop_adapter(self, name: str) -> None:
        """No new request may ask for it; those that have begun end with it, and then its memory is free."""
        self._engine.drop_adapter(name)

    def encode(self, prompt: str, add_special_tokens: bool = True) -> list[int]:
        """As the tokenizer does it. Raises TooLong for a prompt that is far too long, before all of it is cut up."""
        most = self.context - 1
        if isinstance(prompt, str) and is_beyond(self.tokenizer, prompt, most):
            raise TooLong(self._too_long(f"more than {plural(most, 'token')}", most))
        return self.tokenizer.encode(prompt, add_special_tokens)

    def logits(self, token_ids: Sequence[int], adapter: str | None = None) -> np.ndarray:
        """float32 (tokens, vocabulary): row t is the model's view of token t + 1, given the tokens up to t."""
        ids = self._checked(token_ids, self.context)
        rows = Rows(len(ids), self._limits.vocabulary)
        self._engine.run([Reading(ids, rows, adapter=self._engine.adapter(adapter))])
        return rows.rows

    def read(self, token_ids: Sequence[int], use: Callable[[int, np.ndarray], None]) -> None:
        """`logits` of a text that are too many to hold: use(position, the rows from there on), a few at a time."""
        self._engine.run([Reading(self._checked(token_ids, self.context), use)])

    def score(self, token_ids: Sequence[int], first: int = 1, adapter: str | None = None) -> np.ndarray:
        """float64 (tokens - first,): the natural log-probability of each token from `first` on, given those before."""
        ids = self._checked(token_ids, self.context)
        if not 1 <= first <= len(ids):
            raise BadInput(f"first is {first!r}; with {plural(len(ids), 'token')} it must be 1 to {len(ids)}")
        scores = Scores(ids, first)
        self._engine.run([Reading(ids, scores, first - 1, self._engine.adapter(adapter))])
        return scores.logprobs

    def generate(self, prompt: Prompt, **options) -> Completion:
        """Continues a text, or token ids."""
        generation = self.continuation(prompt, **options)
        self._engine.run([generation])
        return generation.completion()

    def batch(self, prompts: Iterable[Prompt], **options) -> list[Completion]:
        """Continues several prompts together: faster than one after the other, with the same answers."""
        if isinstance(prompts, str | bytes) or not isinstance(prompts, Iterable):
            raise BadInput(f"prompts is {prompts!r:.80}; give a list of texts, or of lists of token ids")
        generations = [self.continuation(prompt, **options) for prompt in prompts]
        self._engine.run(generations)
        return [generation.completion() for generation in generations]

    def stream(self, prompt: Prompt, **options) -> Stream:
        """Continues a prompt: iterate over pieces of its text. Closing the iterator ends it and frees its memory."""
        generation = self.continuation(prompt, **options)
        self._engine.start(generation)
        return Stream(self._engine, generation)

    def chat(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        template_variables: Mapping[str, object] | None = None,
        tool_choice: str | Mapping[str, object] = "auto",
        **options,
    ) -> Completion:
        """Answers a conversation in the model's own chat format.

        messages: {"role": "system" | "user" | "assistant" | "tool", "content": text}, ...; tools: as OpenAI's API has
        them; calls of them come as the completion's `tool_calls`. template_variables: handed to the chat template.
        tool_choice: "auto", "none", "required", or a tool as OpenAI's API names it: then the answer is calls, whose
        arguments follow the tool's schema.
        """
        with self.reply(messages, tools, template_variables, tool_choice, **options) as reply:
            for _ in reply:
                pass
        return reply.completion

    def reply(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        template_variables: Mapping[str, object] | None = None,
        tool_choice: str | Mapping[str, object] = "auto",
        **options,
    ) -> Reply:
        """`chat` as a stream of pieces, reasoning and answer told apart."""
        tools, must_call = None if tool_choice == "none" else tools, tool_choice not in ("auto", "none")
        prompt = self.chat_prompt(messages, tools, template_variables)
        if must_call and options.get("grammar") is not None:
            raise BadInput("grammar is given, and a tool_choice that holds the answer to another one; leave one out")
        held = {"grammar": self.chat_format.call_grammar(tools or (), tool_choice)} if must_call else {}
        generation, parser = self.answer(prompt, tools, **self._with_recommended({**options, **held}))
        self._engine.start(generation)
        return Reply(Stream(self._engine, generation), parser, must_call)

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        template_variables: Mapping[str, object] | None = None,
        goes_on: bool = False,
    ) -> ChatPrompt:
        """What `chat` has the model read; the arguments are those of `chat`.

        goes_on: the answer is the rest of the last message, which is the assistant's."""
        render = self.chat_format.unfinished if goes_on else self.chat_format.render
        text = render(messages, tools=tools, **(template_variables or {}))
        return ChatPrompt(text, self.encode(text, add_special_tokens=False), goes_on)

    def answer(
        self, prompt: ChatPrompt, tools: Sequence[Mapping[str, object]] | None = None, **options
    ) -> tuple[Generation, Parser]:
        """An answer to a conversation, not begun: `engine.start` begins it; and what tells the parts of its text apart.

        tools: that may be called. No sampling is added to the options.
        """
        parser = self.chat_format.parser(prompt.text, tools)
        options = {**_governed_after(self._end_of_reasoning(prompt, options), options), **options}
        ids = self._checked(prompt.ids, self.context - 1)
        return self._speaking(ids, options, prompt.goes_on, parser.marks), parser

    def _end_of_reasoning(self, prompt: ChatPrompt, options: Mapping[str, object]) -> str | None:
        """None, too, where a call that is waited for may come in the middle of it."""
        anywhere = options.get("governed_from") and self.chat_format.dialect.ends_reasoning
        return None if anywhere else self.chat_format.governed_after(prompt.text)

    def continuation(self, prompt: Prompt, **options) -> Generation:
        """A continuation of a text or of token ids, not begun: `engine.start` begins it."""
        if isinstance(prompt, str):
            prompt = self.encode(prompt)
        return self._speaking(self._checked(prompt, self.context - 1), options, continues=True)

    def conversation(self, system: str | None = None) -> Conversation:
        """Turns of one chat, with their messages remembered."""
        return Conversation(self, system)

    def close(self) -> None:
        """Frees the weights and the cache; a second time does nothing."""
        self._engine.close()
        self._voice.close()

    def __enter__(self) -> "LLM":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _with_recommended(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """The recommendation holds as a whole: who gives a temperature chooses for themselves."""
        return options if "temperature" in options else {**self._recommended, **options}

    def _speaking(
        self, ids: list[int], options: Mapping[str, object], continues: bool, marks: Collection[str] | None = None
    ) -> Generation:
        adapter = self._engine.adapter(options.get("adapter"))
        sampling = Sampling.of({name: value for name, value in options.items() if name != "adapter"})
        sampling.check_vocabulary(self._limits.vocabulary)
        self._check_speech(sampling)
        most = min(len(ids) + (self.context if sampling.max_tokens is None else sampling.max_tokens), self.context)
        governor = self._grammars.governor(sampling) if sampling.constraint else None
        eos_ids = self._voice.eos_ids
        generation = Generation(ids, sampling, most, self._limits.vocabulary, eos_ids, governor, adapter)
        if self._voice.speaks:
            governed = governor is not None and sampling.governs_at_once  # a grammar sees its first space too
            generation.speak(self.tokenizer.detokenizer(marks=marks), continues or governed)
        return generation

    def _check_speech(self, sampling: Sampling) -> None:
        name, value = sampling.constraint or ("stop", list(sampling.stop))
        if value and not self._voice.speaks:
            raise BadInput(f"{name} is {value}, but this model's files have no tokenizer to make text with")

    @cached_property
    def _grammars(self) -> Grammars:
        chat = self._voice.chat
        return Grammars(
            self.tokenizer, self._limits.vocabulary, self._voice.eos_ids, chat.marks, call_marks=chat.call_marks
        )

    def _checked(self, ids: Sequence[int], most: int) -> list[int]:
        ids = _integers(ids)
        if not ids:
            raise BadInput("the prompt is empty; give at least one token")
        if len(ids) > most:
            raise TooLong(self._too_long(plural(len(ids), "token"), most))
        if min(ids) < 0 or max(ids) >= self._limits.vocabulary:
            wrong = next(i for i in ids if not 0 <= i < self._limits.vocabulary)
            raise BadInput(f"token id {wrong} is not in the vocabulary, which is 0 to {self._limits.vocabulary - 1}")
        return ids

    def _too_long(self, tokens: str, most: int) -> str:
        fit = f"at most {most} {'fits' if most == 1 else 'fit'}, as the context is {self.context}"
        longest = self._limits.longest
        larger = f", or load the model with a larger context (at most {longest})" if self.context < longest else ""
        return f"the prompt has {tokens} and {fit}; shorten it{larger}"


def _governed_after(mark: str | None, options: Mapping[str, object]) -> dict[str, str]:
    """Reasoning that a prompt has opened is free; the answer after it is not."""
    return {"governed_after": mark} if mark and any(options.get(name) is not None for name in CONSTRAINTS) else {}


def _integers(ids: object) -> list[int]:
    try:
        array = np.asarray(ids)
        if array.ndim == 1 and (array.size == 0 or array.dtype.kind in "iu"):
            return array.tolist()
    except ValueError:
        pass
    raise BadInput(f"token ids must be a flat list of integers; these are {str(ids)[:80]}")

"""The text of an answer, as it comes, to reasoning, content and calls of tools."""

from collections.abc import Iterable, Sequence

from divebell.text.dialects.dialect import Calls, Dialect
from divebell.text.events import Content, Event, Reasoning
from divebell.text.reader import MORE, Reader, Steps


class Parser:
    """One request's answer; make a new one for each.

    dialect: how calls are written, None where there are no tools to call: then nothing is taken for a call.
    thinking: the marks around reasoning, None for a model that does not reason. opened: the prompt has opened it.
    tools: as in `ChatFormat.render`.

    marks: control tokens that must come as text (see `Tokenizer.detokenizer`). opened: as given.

    Events join to the same whatever the pieces are, and come as soon as they are certain. White space around the
    reasoning and around calls belongs to neither, and not to the content, except between content before calls and
    content after them. Content within a call comes after it.

    What a mark of the dialect opens is a call when a name and the beginning of arguments follow, as the dialect writes
    them; anything else stays content, marks and all. From there on it is a call for good:

    - a name that no tool has is handed on, for the client to answer that there is no such tool. As content it would
      end an agent's turn with markup in the answer. Only where nothing but the shape of JSON tells a call (Llama 3)
      must the name be a tool's.
    - arguments are handed on as the model writes them, valid or not, as OpenAI's API does, up to the bracket that
      closes them, the end of the call or of the text. Only line breaks inside strings, which JSON forbids, become
      escapes.
    """

    def __init__(
        self,
        dialect: Dialect | None = None,
        thinking: tuple[str, str] | None = None,
        opened: bool = False,
        tools: Sequence[dict] | None = None,
    ):
        self._reader = Reader()
        self._dialect, self._thinking, self.opened = dialect, thinking, opened
        self._calls = Calls(self._reader, tools or [])
        self._steps = self._answer()
        self._spoken, self._space = False, ""  # whether content came; the white space around the calls since
        self._held: list[Content] = []
        self.marks = frozenset([*(dialect.marks if dialect else ()), *(thinking or ())])

    def push(self, text: str) -> list[Event]:
        """What becomes certain with more text."""
        self._reader.feed(text)
        return self._run()

    def flush(self, cut: bool = False, must_call: bool = False) -> list[Event]:
        """What was held back, when no more text comes.

        cut: the text was cut off, by its length or a stop string. Where calls came, or with `must_call` had to come,
        what looks like the beginning of one is not content then.
        """
        self._reader.ended = True
        begun = cut and (must_call or self._calls.begun)
        return [event for event in self._run() if not (begun and isinstance(event, Content))]

    def _run(self) -> list[Event]:
        events = []
        for step in self._steps:
            if step is MORE:
                break
            events += self._in_order(step)
        return events

    def _in_order(self, event: Event) -> list[Event]:
        """What comes now: content within a call waits for its end."""
        if isinstance(event, Content):
            self._held.append(self._spaced(event))
        held, self._held = ([], self._held) if self._calls.open else (self._held, [])
        return held if isinstance(event, Content) else [event, *held]

    def _spaced(self, content: Content) -> Content:
        space = self._space if self._spoken else ""
        self._spoken, self._space = True, ""
        return Content(space + content.text)

    def _answer(self) -> Steps[None]:
        if self._thinking:
            yield from self._reasoning(*self._thinking)
        if self._dialect and self._dialect.bare:
            yield from self._call()
        marks = self._dialect.opens if self._dialect else ()
        while mark := (yield from self._reader.text_before(marks, Content)):
            if not (yield from self._call()):
                yield from self._as_text(mark, Content)

    def _reasoning(self, opening: str, closing: str) -> Steps[None]:
        if not self.opened and not (yield from self._takes(opening)):
            return
        yield Reasoning("")
        yield from self._reader.skip_space()
        interrupting = self._dialect.opens if self._dialect and self._dialect.ends_reasoning else ()
        while mark := (yield from self._reader.text_before((closing, *interrupting), Reasoning)):
            if mark == closing:
                yield from self._takes(closing)
                yield from self._reader.skip_space()
                return
            if (yield from self._call()):
                return
            yield from self._as_text(mark, Reasoning)

    def _takes(self, mark: str) -> Steps[bool]:
        """Steps over `mark` and white space before it, or over nothing."""
        self._reader.keep()
        yield from self._reader.skip_space()
        found = yield from self._reader.take(mark)
        self._reader.let_go() if found else self._reader.go_back()
        return found

    def _call(self) -> Steps[bool]:
        """Reads calls, with the white space around them, or nothing."""
        self._reader.keep()
        space = self._space
        self._space = (yield from self._reader.skip_space()) or space
        if not (yield from self._dialect.read(self._reader, self._calls)):
            self._reader.go_back()
            self._space = space
            return False
        self._reader.let_go()
        self._space = (yield from self._reader.skip_space()) or self._space
        return True

    def _as_text(self, mark: str, event: type) -> Iterable[Event]:
        """A mark that opened nothing, with the white space before it."""
        text = self._reader.take_all()
        length = text.index(mark) + len(mark)
        self._reader.at -= len(text) - length
        yield event(text[:length])

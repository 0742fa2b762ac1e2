"""The chat: one conversation, asked, answered, edited and branched."""

import asyncio
from contextlib import aclosing

from nicegui import background_tasks, ui

from divebell.errors import BadInput
from divebell.serve.answer import Answer
from divebell.serve.errors import as_refusal
from divebell.serve.ui.asking import Asker, figures
from divebell.serve.ui.composer import Composer
from divebell.serve.ui.conversation import Conversation
from divebell.serve.ui.store import Store
from divebell.serve.ui.tree import Turn
from divebell.serve.ui.turn_view import TurnView

STOPPED = "stopped"
CUT = "cut at the limit"


class Chat:
    """conversation: the one that is shown. model: the name that the next question goes to. changed: is told when the
    list of conversations is another."""

    def __init__(self, asker: Asker, store: Store):
        self.asker, self.store = asker, store
        self.owner = asker.key or ""
        self.model = next(iter(asker.service.models))
        self.conversation = Conversation(self.owner)
        self.composer = Composer(self)
        self.changed = lambda: None
        self._task: asyncio.Task | None = None

    @property
    def answering(self) -> bool:
        return self._task is not None

    def show_turns(self) -> None:
        """Builds what shows the conversation."""
        self._column = ui.column().classes("column-of-turns").props('role="log" aria-label="Conversation"')
        self.refresh()

    def refresh(self) -> None:
        """Shows the conversation as it is."""
        self._column.clear()
        with self._column:
            self._views = {turn.id: TurnView(self, turn) for turn in self.conversation.tree.path()}
        self.composer.update()

    def fresh(self) -> None:
        """Begins a conversation with the same settings."""
        self.open(Conversation(self.owner, settings=self.conversation.settings))

    def open(self, conversation: Conversation) -> None:
        """Shows another conversation; an answer that is not finished ends."""
        self.stop()
        self.conversation = conversation
        if conversation.model in self.asker.service.offers:
            self.model = conversation.model
        self.refresh()
        self.composer.focus()

    def ask(self, text: str, parent: int | None) -> None:
        """Puts a question after a turn (None: first), beside those that are there, and has it answered."""
        self.conversation.name_after(text)
        self.answer(self.conversation.tree.add(parent, "user", text))

    def answer(self, question: Turn) -> None:
        """Has a question answered, beside the answers that it has."""
        self.stop()
        turn = self.conversation.tree.add(question.id, "assistant")
        self.conversation.model = self.model
        self.save()
        self._task = background_tasks.create(self._run(self.conversation, turn), name="answer")
        self.refresh()
        ui.run_javascript("scrollTo(0, document.body.scrollHeight)")

    def choose(self, turn: Turn) -> None:
        """Shows the branch of a turn."""
        self.stop()
        self.conversation.tree.choose(turn)
        self.save()
        self.refresh()

    def branch(self, turn: Turn) -> None:
        """Goes back to a turn: what is asked next begins a branch there."""
        self.stop()
        self.conversation.tree.end_at(turn)
        self.save()
        self.refresh()
        self.composer.focus()

    def stop(self) -> None:
        """Ends the answer that is being written, if there is one; what there is of it stays."""
        if self._task:
            self._task.cancel()
            self._task = None

    def save(self, conversation: Conversation | None = None) -> None:
        """What can't be written down is told, and the talk goes on."""
        try:
            self.store.save(conversation or self.conversation)
        except BadInput as problem:
            self.tell(problem)
        self.changed()

    def tell(self, problem: Exception) -> None:
        """In a corner of the page, if it is still there."""
        if not self._column.is_deleted:
            with self._column:
                ui.notify(str(problem), type="negative", multi_line=True)

    async def _run(self, conversation: Conversation, turn: Turn) -> None:
        try:
            messages = conversation.messages(turn.parent)
            async with aclosing(self.asker.answer(conversation.model, messages, conversation.settings)) as answers:
                async for answer in answers:
                    self._take(turn, answer)
        except asyncio.CancelledError:
            turn.problem = STOPPED
        except Exception as error:
            turn.problem = as_refusal(error).detail
        self._end(conversation, turn)

    def _take(self, turn: Turn, answer: Answer) -> None:
        turn.text, turn.reasoning = answer.parts.text, answer.parts.reasoning
        turn.figures = figures(answer)
        turn.problem = CUT if answer.finish_reason == "length" else None
        self._views[turn.id].follow()

    def _end(self, conversation: Conversation, turn: Turn) -> None:
        if self._task is asyncio.current_task():
            self._task = None
        self.save(conversation)
        if self._column.is_deleted:
            return
        self.composer.update()
        if conversation is self.conversation and turn.id in self._views:
            self._views[turn.id].update()

"""One turn of a conversation on the page."""

import time
from typing import TYPE_CHECKING

from nicegui import ui

from divebell.serve.ui.asking import told
from divebell.serve.ui.rendering import html
from divebell.serve.ui.tree import Turn

if TYPE_CHECKING:
    from divebell.serve.ui.chat import Chat

SOONEST, SHARE = 0.1, 10  # seconds between two renderings, and how many times as long as one of them


class TurnView:
    """A question is shown as it was typed; an answer is rendered, its reasoning folded away."""

    def __init__(self, chat: "Chat", turn: Turn):
        self._chat, self._turn, self._due = chat, turn, 0.0
        with ui.column().classes("turn") as self._place:
            if turn.role == "user":
                self._question()
            else:
                self._answer()

    def follow(self) -> None:
        """Shows what an answer has come to, not so often that the rendering would take its time from the model."""
        begin = time.monotonic()
        if begin >= self._due and not self._place.is_deleted:
            self.update()
            took = time.monotonic() - begin
            self._due = time.monotonic() + max(SOONEST, SHARE * took)

    def update(self) -> None:
        """Shows an answer as it is."""
        turn = self._turn
        self._fold.visible = bool(turn.reasoning)
        self._reasoning.content = html(turn.reasoning or "")
        self._text.content = html(turn.text)
        self._figures.text = told(turn.figures) if turn.figures else ""
        self._problem.text = turn.problem or ""
        self._waits.visible = self._chat.answering and not turn.text and not turn.problem
        self._place.client.run_javascript("followEnd()")

    def _question(self) -> None:
        self._said = ui.label(self._turn.text).classes("said")
        with ui.row().classes("actions mine"):
            self._branches()
            _action("edit", "Edit", self._edit)

    def _answer(self) -> None:
        with ui.expansion("Reasoning", icon="psychology").classes("w-full quiet") as self._fold:
            self._reasoning = ui.html("").classes("answer reasoning")
        self._text = ui.html("").classes("answer").mark("answer")
        self._waits = ui.spinner("dots", size="1.5rem").props('aria-label="The answer is awaited"')
        with ui.row().classes("actions"):
            self._branches()
            _action("content_copy", "Copy", lambda: ui.clipboard.write(self._turn.text))
            _action("refresh", "Answer again", self._again)
            _action("call_split", "Branch from here", lambda: self._chat.branch(self._turn))
            self._figures = ui.label().classes("quiet").mark("figures")
            self._problem = ui.label().classes("quiet problem").props('role="status"').mark("problem")
        self.update()

    def _again(self) -> None:
        self._chat.answer(self._chat.conversation.tree.turns[self._turn.parent])

    def _edit(self) -> None:
        self._said.visible = False
        with self._place, ui.column().classes("w-full") as form:
            text = ui.textarea("Edit the question", value=self._turn.text).props("outlined autogrow autofocus")
            text.classes("w-full").mark("wording")
            with ui.row().classes("ml-auto"):
                ui.button("Cancel", on_click=lambda: self._chat.refresh()).props("flat no-caps")
                ui.button("Ask", on_click=lambda: self._ask(text.value)).props("unelevated no-caps").mark("ask")
        form.move(target_index=0)

    def _ask(self, text: str) -> None:
        if text.strip():
            self._chat.ask(text.strip(), self._turn.parent)

    def _branches(self) -> None:
        siblings = self._chat.conversation.tree.siblings(self._turn)
        if len(siblings) < 2:
            return
        at = siblings.index(self._turn)
        _action("chevron_left", "Branch before", lambda: self._chat.choose(siblings[at - 1]))
        ui.label(f"{at + 1}/{len(siblings)}").classes("quiet")
        _action("chevron_right", "Branch after", lambda: self._chat.choose(siblings[(at + 1) % len(siblings)]))


def _action(icon: str, name: str, do) -> None:
    with ui.button(icon=icon, on_click=do).props(f'flat dense round size="sm" aria-label="{name}"').mark(name):
        ui.tooltip(name)

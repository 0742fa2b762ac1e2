"""Where a question is written, and files are dropped."""

from typing import TYPE_CHECKING

from nicegui import events, ui

from divebell.errors import BadInput
from divebell.serve.ui.attachment import Attachment, joined

if TYPE_CHECKING:
    from divebell.serve.ui.chat import Chat

# Not while a Chinese or Japanese word is being composed, which Enter ends.
ENTER = "event => { if (!event.shiftKey && !event.isComposing) { event.preventDefault(); emit(); } }"


class Composer:
    def __init__(self, chat: "Chat"):
        self._chat = chat
        self._attachments: list[Attachment] = []

    def show(self) -> None:
        """Builds it."""
        with ui.column().classes("composer-column gap-1"):
            self._chips = ui.row().classes("gap-1")
            with ui.row().classes("w-full items-end no-wrap gap-1"):
                upload = self._upload()
                with ui.button(icon="attach_file", on_click=lambda: upload.run_method("pickFiles")) as pick:
                    ui.tooltip("Add text files, or drop them anywhere")
                pick.props('flat dense round aria-label="Add text files"')
                self._text = ui.textarea(placeholder="Ask something").classes("grow").mark("question")
                self._text.props(
                    'autogrow outlined dense autofocus aria-label="Question" input-style="max-height: 40vh"'
                )
                self._text.on("keydown.enter", self._send, js_handler=ENTER)
                self._button = ui.button(icon="send", on_click=self._send_or_stop).mark("send")

    def focus(self) -> None:
        self._text.run_method("focus")

    def update(self) -> None:
        """The button sends, or stops while an answer is being written."""
        name, icon = ("Stop", "stop") if self._chat.answering else ("Send", "send")
        self._button.props(f'unelevated round dense icon={icon} aria-label="{name}"')

    def _upload(self) -> ui.upload:
        most = self._chat.asker.service.limits.body
        upload = ui.upload(multiple=True, auto_upload=True, max_file_size=most, on_upload=self._attach)
        upload.on("rejected", lambda: ui.notify("this file is larger than the server takes (--max-body)"))
        return upload.classes("files hidden")

    async def _attach(self, event: events.UploadEventArguments) -> None:
        try:
            self._attachments.append(Attachment.of(event.file.name, await event.file.read()))
        except BadInput as problem:
            self._chat.tell(problem)
        event.sender.reset()
        self._show_chips()

    def _show_chips(self) -> None:
        self._chips.clear()
        with self._chips:
            for attachment in self._attachments:
                chip = ui.chip(attachment.name, icon="description", removable=True).props("dense outline")
                chip.on("remove", lambda attachment=attachment: self._detach(attachment))

    def _detach(self, attachment: Attachment) -> None:
        self._attachments.remove(attachment)
        self._show_chips()

    def _send_or_stop(self) -> None:
        if self._chat.answering:
            self._chat.stop()
        else:
            self._send()

    def _send(self) -> None:
        question = joined(self._attachments, self._text.value or "")
        if not question or self._chat.answering:
            return
        self._text.value = ""
        self._attachments.clear()
        self._show_chips()
        self._chat.ask(question, self._chat.conversation.tree.leaf)

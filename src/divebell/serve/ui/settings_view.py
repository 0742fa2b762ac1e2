"""Where the settings of a conversation are made."""

from nicegui import ui

from divebell.errors import BadInput
from divebell.serve.refusal import Refusal
from divebell.serve.ui.chat import Chat
from divebell.serve.ui.settings import Settings

NUMBERS = (
    ("temperature", "Temperature", "min=0 max=100 step=0.1"),
    ("top_p", "Top p", "min=0 max=1 step=0.05"),
    ("top_k", "Top k", "min=0 step=1"),
    ("min_p", "Min p", "min=0 max=1 step=0.01"),
    ("max_tokens", "Tokens of an answer at most", "min=1 step=1"),
    ("seed", "Seed", "min=0 step=1"),
)


class SettingsView:
    def __init__(self, chat: Chat):
        self._chat = chat
        with ui.dialog() as self._dialog, ui.card().classes("w-full"):
            ui.label("Settings of this conversation").classes("text-lg")
            self._system = ui.textarea("System prompt").props("outlined autogrow").classes("w-full")
            with ui.grid(columns=2).classes("w-full"):
                self._numbers = {name: ui.number(label).props(f"dense {props}") for name, label, props in NUMBERS}
            ui.label("What is left empty is as the server and the model have it.").classes("quiet")
            with ui.row().classes("ml-auto"):
                ui.button("Cancel", on_click=self._dialog.close).props("flat no-caps")
                ui.button("Save", on_click=self._save).props("unelevated no-caps")

    def open(self) -> None:
        settings = self._chat.conversation.settings
        self._system.value = settings.system
        for name, field in self._numbers.items():
            field.value = getattr(settings, name)
        self._dialog.open()

    def _save(self) -> None:
        numbers = {name: field.value for name, field in self._numbers.items()}
        settings = Settings(self._system.value.strip(), **numbers)
        try:
            settings.options(self._chat.asker.service.limits)
        except BadInput as problem:
            ui.notify(str(problem), type="negative")
        except Refusal as problem:
            ui.notify(problem.detail, type="negative")
        else:
            self._chat.conversation.settings = settings
            if self._chat.conversation.id is not None:
                self._chat.save()
            self._dialog.close()

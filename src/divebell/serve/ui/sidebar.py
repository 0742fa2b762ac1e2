"""The conversations that are kept."""

from nicegui import ui

from divebell.errors import BadInput
from divebell.serve.ui.chat import Chat
from divebell.serve.ui.export import as_json, file_name, markdown

FORMATS = (("Markdown", "md", markdown, "text/markdown"), ("JSON", "json", as_json, "application/json"))

WIDE = 900  # pixels from which on there is room for it beside the chat


class Sidebar:
    """Open beside the chat where there is room, over it on a phone."""

    def __init__(self, chat: Chat):
        self._chat = chat
        chat.changed = self.refresh
        with ui.left_drawer(bordered=True, bottom_corner=True).props(f"breakpoint={WIDE} width=270") as self._drawer:
            with ui.row().classes("w-full items-center no-wrap"):
                new = ui.button("New conversation", icon="add", on_click=chat.fresh)
                new.props("flat no-caps align=left").classes("grow")
                self._exports()
            self._list = ui.list().props("dense").classes("w-full")
        self.refresh()

    def toggle(self) -> None:
        self._drawer.toggle()

    def refresh(self) -> None:
        """Shows what is kept now."""
        if self._list.is_deleted:
            return
        try:
            titles = self._chat.store.titles(self._chat.owner)
        except BadInput as problem:
            ui.notify(str(problem), type="negative")
            titles = []
        self._list.clear()
        with self._list:
            for id, title in titles:
                self._entry(id, title)

    def _entry(self, id: int, title: str) -> None:
        shown = "active" if id == self._chat.conversation.id else ""
        with ui.item().props(f"clickable {shown}").mark("conversation") as item:
            item.on("click", lambda event: self._open(id, event.args), js_handler="() => emit(innerWidth)")
            with ui.item_section():
                ui.item_label(title).props("lines=1")
            with ui.item_section().props("side"):
                delete = ui.button(icon="delete").props('flat dense round size="sm" aria-label="Delete"')
                delete.on("click.stop", lambda: self._delete(id, title))

    def _open(self, id: int, width: int | None) -> None:
        conversation = self._chat.store.load(id, self._chat.owner)
        if conversation:
            self._chat.open(conversation)
        if width and width < WIDE:
            self._drawer.hide()
        self.refresh()

    async def _delete(self, id: int, title: str) -> None:
        with ui.dialog() as dialog, ui.card():
            ui.label(f"Delete “{title}” with all its branches?")
            with ui.row().classes("ml-auto"):
                ui.button("Keep", on_click=lambda: dialog.submit(False)).props("flat no-caps")
                ui.button("Delete", on_click=lambda: dialog.submit(True)).props("unelevated no-caps color=negative")
        if await dialog:
            if id == self._chat.conversation.id:
                self._chat.fresh()
            self._chat.store.delete(id, self._chat.owner)
            self.refresh()
        dialog.delete()

    def _exports(self) -> None:
        with ui.button(icon="download").props('flat dense round aria-label="Export this conversation"'), ui.menu():
            for name, ending, write, kind in FORMATS:
                ui.menu_item(name, lambda ending=ending, write=write, kind=kind: self._export(ending, write, kind))

    def _export(self, ending: str, write, kind: str) -> None:
        conversation = self._chat.conversation
        ui.download.content(write(conversation), file_name(conversation, ending), kind)

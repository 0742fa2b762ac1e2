"""The page as a whole: what stands where."""

from fastapi import Request
from nicegui import ui

from divebell.serve.paths import SIGN_OUT
from divebell.serve.record import record_of
from divebell.serve.ui.asking import Asker
from divebell.serve.ui.chat import Chat
from divebell.serve.ui.look import HEAD
from divebell.serve.ui.machine_view import MachineView
from divebell.serve.ui.mount import SCOPE, Page
from divebell.serve.ui.settings_view import SettingsView
from divebell.serve.ui.sidebar import Sidebar
from divebell.serve.ui.store import Store, default_file


def root(request: Request) -> None:
    """For each visit."""
    page: Page = request.scope[SCOPE]
    record = record_of(request.scope)
    show(Asker(page.service, page.access, record.client, record.key), Store(default_file()))


def show(asker: Asker, store: Store) -> None:
    """Builds the page."""
    ui.add_head_html(HEAD)
    chat = Chat(asker, store)
    sidebar, settings = Sidebar(chat), SettingsView(chat)
    tabs = _header(chat, sidebar, settings)
    with ui.footer().classes("composer").bind_visibility_from(tabs, "value", value="Chat"):
        chat.composer.show()
    with ui.tab_panels(tabs, value="Chat", animated=False).classes("w-full"):
        with ui.tab_panel("Chat").classes("p-0"):
            chat.show_turns()
        with ui.tab_panel("Machine"):
            MachineView(asker.service, lambda: tabs.value == "Machine")
    ui.on("stop", chat.stop)
    ui.on("fresh", chat.fresh)
    ui.context.client.on_delete(chat.stop)


def _header(chat: Chat, sidebar: Sidebar, settings: SettingsView) -> ui.tabs:
    dark = ui.dark_mode(None)
    with ui.header().classes("top items-center"):
        _button("menu", "Conversations", sidebar.toggle)
        tabs = ui.tabs(value="Chat").props("dense no-caps").classes("shrink")
        with tabs:
            ui.tab("Chat")
            ui.tab("Machine")
        ui.space()
        _models(chat)
        _button("tune", "Settings", settings.open)
        _button("contrast", "Light or dark", lambda: dark.set_value(not dark.value))
        if chat.asker.key is not None:
            with ui.element("form").props(f'method="post" action="{SIGN_OUT}"'):
                ui.button(icon="logout").props('flat dense type="submit" aria-label="Sign out"')
    return tabs


def _models(chat: Chat) -> None:
    """Adapters come and go; one that is chosen and gone stays in the list, and whoever asks it is told."""

    def names() -> list[str]:
        return list(dict.fromkeys([*chat.asker.service.offers, chat.model]))

    choice = ui.select(names()).bind_value(chat, "model").mark("model")
    choice.props('dense borderless aria-label="Model"').classes("model")
    choice.on("focus", lambda: choice.set_options(names()))


def _button(icon: str, name: str, action) -> None:
    with ui.button(icon=icon, on_click=action).props(f'flat dense round aria-label="{name}"'):
        ui.tooltip(name)

"""The page in a real browser: by keyboard, at a phone's width, in light and in dark, with a console that is silent."""

import pytest
from chromium import CONTRAST, PROGRAM, tab
from nicegui.testing.general import nicegui_reset_globals
from servers import running, service_of, slow

from divebell.serve.limits import Limits

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium"),
]
ENTER, ESCAPE, N = ("Enter", 13), ("Escape", 27), ("KeyN", 78)
ALT = 1
FIGURES = "[...document.querySelectorAll('.actions .quiet')].filter(e => / tokens at /.test(e.innerText)).length"
SAID = "[...document.querySelectorAll('.said')].map(e => e.innerText).join('|')"
UNNAMED = """[...document.querySelectorAll('button')]
  .filter(button => !button.textContent.replace(/^[a-z_]+$/, '').trim() && !button.ariaLabel)
  .map(button => button.outerHTML)"""  # the text of an icon is its name
FAINT = f"""(() => {{
  {CONTRAST}
  const shown = [...document.querySelectorAll('.answer p, .said, .quiet, .q-tab__label, .q-btn, .q-item__label')]
    .filter(element => element.offsetParent && element.innerText.trim() && !element.disabled);
  return shown.filter(element => contrast(element) < 4.5).map(element => element.innerText + ' ' + contrast(element));
}})()"""
DROP = """(() => {
  const data = new DataTransfer();
  data.items.add(new File(['forty-two'], 'notes.txt', {type: 'text/plain'}));
  document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}));
})()"""


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    """A page that is open, before anything was asked."""
    home, patch = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch()
    patch.setenv("DIVEBELL_HOME", str(home))
    service = slow(service_of({"small": folder}, limits=Limits(output=100)))
    service.models["small"].llm._voice.eos_ids = frozenset()  # an answer ends when it is stopped, or with its tokens
    with nicegui_reset_globals(), running(service) as server, tab(PROGRAM, tmp_path_factory.mktemp("chromium")) as one:
        one.look(1280, 800, dark=False)
        one.open(f"{server.url}/")
        one.wait("window.did_handshake && document.querySelector('textarea')")
        yield one
        one.call("Page.close")
    patch.undo()


def ask(page, text):
    page.value("document.querySelector('textarea[aria-label=Question]').focus()")
    page.type(text)
    page.press(*ENTER)


def a_question_is_asked_stopped_edited_and_kept_by_keyboard(page):
    ask(page, "First question")
    page.wait(f"{SAID} === 'First question'")
    page.wait("document.querySelector('button[aria-label=Stop]')")
    page.press(*ESCAPE)
    page.wait("document.querySelector('button[aria-label=Send]')")
    page.value("document.querySelector('button[aria-label=Edit]').focus()")
    page.press(*ENTER)
    page.wait("document.querySelector('textarea[aria-label=\"Edit the question\"]')")
    page.type(" Better: ")
    page.value("[...document.querySelectorAll('button')].find(b => b.innerText === 'Ask').focus()")
    page.press(*ENTER)
    page.wait(f"{SAID}.includes('Better') && {FIGURES} === 1")
    assert page.value("document.body.innerText.includes('2/2')")
    page.press(*N, modifiers=ALT)
    page.wait(f"{SAID} === ''")
    assert page.value("document.querySelectorAll('.q-drawer .q-item').length") == 1


def a_file_that_is_dropped_is_part_of_the_question(page):
    page.value(DROP)
    page.wait("document.querySelector('.q-chip')?.innerText.includes('notes.txt')")
    ask(page, "What is in it?")
    page.wait(f"{SAID}.includes('forty-two') && {SAID}.includes('What is in it?') && {FIGURES} === 1")


def it_can_be_read_at_every_width_in_light_and_dark(page, width, dark):
    page.look(width, 740, dark)
    page.wait(f"document.body.classList.contains('body--dark') === {'true' if dark else 'false'}")
    assert page.value("document.scrollingElement.scrollWidth") == width
    assert page.value("document.querySelector('.top').offsetHeight") < 60
    page.wait(f"{FAINT}.length === 0")
    assert page.value(UNNAMED) == []


def the_machine_s_figures_are_alive(page):
    page.look(1280, 740, dark=False)
    page.value("[...document.querySelectorAll('.q-tab')].find(e => /machine/i.test(e.innerText)).click()")
    page.wait("/tokens\\/s/.test(document.body.innerText) && /\\d of [\\d,]+ pages/.test(document.body.innerText)")


def nothing_was_amiss(page):
    page.value("1")
    assert page.problems == []


def test_a_person_uses_it(page):
    """One test, as each step goes on from what the last one left."""
    a_question_is_asked_stopped_edited_and_kept_by_keyboard(page)
    a_file_that_is_dropped_is_part_of_the_question(page)
    for width in (360, 1280):
        for dark in (False, True):
            it_can_be_read_at_every_width_in_light_and_dark(page, width, dark)
    the_machine_s_figures_are_alive(page)
    nothing_was_amiss(page)

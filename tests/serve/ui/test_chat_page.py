import asyncio
import io
import json
import re

import pytest
from nicegui.testing.user_simulation import user_simulation
from servers import adapter, service_of, slow

from divebell.serve.access import AccessLog
from divebell.serve.limits import Limits
from divebell.serve.ui.asking import Asker
from divebell.serve.ui.root import show
from divebell.serve.ui.store import Store

PATIENCE = 200  # tenths of a second


class Desk:
    """A page of a service, its store and its access log."""

    def __init__(self, folder, file, **limits):
        self.service, self.log = service_of({"small": folder}, limits=Limits(**limits)), io.StringIO()
        self.asker = Asker(self.service, AccessLog(self.service, self.log), "here", None)
        self.store = Store(file)

    def visit(self, steps):
        """steps: coroutine function of a simulated user who has opened the page."""

        async def all_of_them():
            async with user_simulation(root=lambda: show(self.asker, self.store)) as user:
                await user.open("/")
                await steps(user)

        asyncio.run(all_of_them())

    def check_idle(self):
        (served,) = self.service.models.values()
        assert not served.present
        served.close()
        assert not self.service.in_flight

    def kept(self):
        ((id, _),) = self.store.titles("")
        return self.store.load(id, "")


@pytest.fixture
def desk(folder, tmp_path):
    desk = Desk(folder, tmp_path / "file", output=6)
    yield desk
    desk.check_idle()


async def say(user, text):
    user.find(marker="question").type(text)
    user.find(marker="send").click()


async def answered(user, count):
    """Until so many answers are shown with their figures."""
    for _ in range(PATIENCE):
        shown = [label.text for label in found(user, "figures") if label.text]
        if len(shown) == count and found(user, "send")[0].props["aria-label"] == "Send":
            return shown
        await asyncio.sleep(0.1)
    raise AssertionError(f"there are not {count} answers")


def found(user, marker):
    try:
        return sorted(user.find(marker=marker).elements, key=lambda element: element.id)
    except AssertionError:
        return []


def test_a_question_is_answered_kept_and_counted(desk):
    async def steps(user):
        await say(user, "What is *this*?")
        (figures,) = await answered(user, 1)
        assert "6 tokens" in figures
        assert " 0 % cached" in figures
        assert re.search(r" J ± \d+ %, .* g CO₂, \$", figures)
        await user.should_see("What is *this*?")
        await user.should_see("cut at the limit")

    desk.visit(steps)
    question, answer = desk.kept().tree.path()
    assert (question.text, answer.figures["completion_tokens"]) == ("What is *this*?", 6)
    (line,) = map(json.loads, desk.log.getvalue().splitlines())
    assert line.items() >= {"client": "here", "path": "/", "model": "small", "status": 200}.items()
    assert line["completion_tokens"] == 6


def test_an_edited_question_is_a_branch_and_uses_the_cache(desk):
    async def steps(user):
        await say(user, "A long common beginning, and an end")
        await answered(user, 1)
        user.find(marker="Edit").click()
        await user.should_see("Edit the question")
        user.find(marker="wording").clear().type("A long common beginning, and another")
        user.find(marker="ask").click()
        await user.should_see("2/2", retries=PATIENCE)
        await answered(user, 1)
        user.find(marker="Branch before").click()
        await user.should_see("A long common beginning, and an end")

    desk.visit(steps)
    tree = desk.kept().tree
    assert tree.path()[0].text == "A long common beginning, and an end"
    first, second = (turn.figures["cached_tokens"] for turn in tree.turns.values() if turn.role == "assistant")
    assert first == 0 < second


def test_another_answer_and_a_branch_stand_beside_the_first(desk):
    async def steps(user):
        await say(user, "Once")
        await answered(user, 1)
        user.find(marker="Answer again").click()
        await user.should_see("2/2", retries=PATIENCE)
        await answered(user, 1)
        user.find(marker="Branch from here").click()
        await say(user, "And then?")
        await answered(user, 2)

    desk.visit(steps)
    tree = desk.kept().tree
    assert [turn.text for turn in tree.path() if turn.role == "user"] == ["Once", "And then?"]
    assert len(tree.siblings(tree.path()[1])) == 2


def test_a_later_visit_finds_the_conversation(desk):
    async def first(user):
        await say(user, "Remember me")
        await answered(user, 1)

    async def second(user):
        user.find(marker="conversation").click()
        await answered(user, 1)

    desk.visit(first)
    desk.visit(second)


def test_what_is_refused_is_told_in_its_place(desk):
    desk.service.draining = True

    async def steps(user):
        await say(user, "Too late")
        await user.should_see("the server is stopping; try again later", retries=PATIENCE)

    desk.visit(steps)
    assert json.loads(desk.log.getvalue())["status"] == 503


@pytest.mark.parametrize("leave", [False, True], ids=["stop", "closed tab"])
def test_who_stops_or_goes_frees_the_memory(folder, tmp_path, leave, monkeypatch):
    desk = Desk(folder, tmp_path / "file")
    (served,) = slow(desk.service).models.values()
    monkeypatch.setattr(type(served.llm._voice), "eos_ids", frozenset())  # by itself it goes on to its context's end

    async def steps(user):
        await say(user, "Go on for ever")
        while not served.llm.engine.busy:
            await asyncio.sleep(0.01)
        assert found(user, "send")[0].props["aria-label"] == "Stop"
        if leave:
            user.client.delete()
        else:
            user.find(marker="send").click()
        while served.llm.engine.busy or served.present:
            await asyncio.sleep(0.01)
        served.llm.engine.check_integrity()

    desk.visit(steps)
    assert desk.kept().tree.path()[-1].problem == "stopped"
    assert json.loads(desk.log.getvalue())["status"] == 499
    desk.check_idle()


def test_settings_are_checked_and_kept_with_the_conversation(desk):
    async def steps(user):
        await say(user, "With care")
        await answered(user, 1)
        user.find("Settings").click()
        user.find("Temperature").type("-1")
        user.find("Save").click()
        await user.should_see("temperature is -1.0; it must be a number from 0 up to 100")
        user.find("Temperature").clear().type("0.5")
        user.find("System prompt").type("Be brief.")
        user.find("Save").click()

    desk.visit(steps)
    settings = desk.kept().settings
    assert (settings.temperature, settings.system) == (0.5, "Be brief.")


def test_adapters_that_come_and_go_can_be_chosen(desk, tmp_path):
    path, service = adapter(tmp_path / "sql", 1), desk.service

    async def steps(user):
        (choice,) = found(user, "model")
        assert choice.options == ["small"]
        service.add_adapter("sql", path, "small")
        user.find(marker="model").trigger("focus")
        assert (choice.options, choice.value) == (["small", "sql"], "small")
        choice.set_value("sql")
        await say(user, "Hello")
        await answered(user, 1)
        service.drop_adapter("sql")
        user.find(marker="model").trigger("focus")
        assert (choice.options, choice.value) == (["small", "sql"], "sql")
        await say(user, "Hello again")
        await user.should_see("there is no model 'sql'", retries=PATIENCE)

    desk.visit(steps)
    assert [json.loads(line)["model"] for line in desk.log.getvalue().splitlines() if '"status": 200' in line] == [
        "sql"
    ]

"""A conversation for tests."""

from divebell.serve.ui.conversation import Conversation
from divebell.serve.ui.settings import Settings
from divebell.serve.ui.tree import Tree, Turn


def talk(owner="", title="A talk"):
    question, answer = Turn(1, None, "user", "Why?"), Turn(2, 1, "assistant", "So.", "Hm.", {"seconds": 1.5}, "stopped")
    settings = Settings("Be short.", temperature=0.5)
    return Conversation(owner, "small", title, settings, Tree([question, answer], 2))

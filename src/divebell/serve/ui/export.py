"""Conversations as files for elsewhere."""

import json
import re
from dataclasses import asdict

from divebell.serve.ui.conversation import Conversation
from divebell.serve.ui.tree import Turn

SPEAKERS = {"user": "You", "assistant": "Model"}


def markdown(conversation: Conversation) -> str:
    """The branch that is shown."""
    head = f"# {conversation.title or 'Conversation'}\n\nModel: {conversation.model}\n"
    if conversation.settings.system:
        head += f"\n## System\n\n{conversation.settings.system}\n"
    return head + "".join(_section(turn) for turn in conversation.tree.path())


def _section(turn: Turn) -> str:
    reasoning = f"\n### Reasoning\n\n{turn.reasoning}\n" if turn.reasoning else ""
    return f"\n## {SPEAKERS[turn.role]}\n{reasoning}\n{turn.text}\n"


def as_json(conversation: Conversation) -> str:
    """All branches, with what each answer took; `leaf` ends the branch that is shown."""
    body = {
        "title": conversation.title,
        "model": conversation.model,
        "settings": asdict(conversation.settings),
        "leaf": conversation.tree.leaf,
        "turns": [asdict(turn) for turn in conversation.tree.turns.values()],
    }
    return json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def file_name(conversation: Conversation, ending: str) -> str:
    """The title, as far as every file system takes it."""
    words = re.sub(r"[^\w-]+", "-", conversation.title).strip("-")
    return f"{words or 'conversation'}.{ending}"

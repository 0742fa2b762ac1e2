"""A conversation as it is kept."""

from dataclasses import dataclass, field

from divebell.serve.ui.settings import Settings
from divebell.serve.ui.tree import Tree

LONGEST_TITLE = 60


@dataclass(slots=True)
class Conversation:
    """owner: the name of the key that it was held with, "" without keys. id: None until it is stored. model: the name
    that it was last held with."""

    owner: str = ""
    model: str = ""
    title: str = ""
    settings: Settings = field(default_factory=Settings)
    tree: Tree = field(default_factory=Tree)
    id: int | None = None

    def messages(self, end: int) -> list[dict[str, str]]:
        """What a model is to answer: the instructions, and the turns up to `end`."""
        system = [{"role": "system", "content": self.settings.system}] if self.settings.system else []
        return [*system, *(turn.message() for turn in self.tree.path(end))]

    def name_after(self, question: str) -> None:
        """A title of its first words, unless it has one."""
        if not self.title:
            words = " ".join(question.split())
            self.title = words if len(words) <= LONGEST_TITLE else f"{words[: LONGEST_TITLE - 1]}…"

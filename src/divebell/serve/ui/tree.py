"""A conversation as a tree: another wording of a question, or another answer to it, is a branch beside the first."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Turn:
    """parent: the id of the turn before it, None for a first one. role: "user" or "assistant". figures: what an answer
    took. problem: why it ended, where it was not the model that ended it."""

    id: int
    parent: int | None
    role: str
    text: str = ""
    reasoning: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    problem: str | None = None

    def message(self) -> dict[str, str]:
        """As `LLM.chat` has it; reasoning of earlier answers is not read again."""
        return {"role": self.role, "content": self.text}


class Tree:
    """leaf: the id of the last turn of the branch that is shown; None: nothing is."""

    def __init__(self, turns: list[Turn] | None = None, leaf: int | None = None):
        self.turns = {turn.id: turn for turn in turns or ()}
        self.leaf = leaf

    def add(self, parent: int | None, role: str, text: str = "") -> Turn:
        """A new last turn after `parent`, which is shown from now on. Raises KeyError for an unknown parent."""
        if parent is not None:
            self.turns[parent]
        turn = Turn(max(self.turns, default=0) + 1, parent, role, text)
        self.turns[turn.id] = turn
        self.leaf = turn.id
        return turn

    def path(self, end: int | None = None) -> list[Turn]:
        """From the first turn to `end`, by default the last one shown."""
        turns, at = [], self.leaf if end is None else end
        while at is not None:
            turns.append(self.turns[at])
            at = turns[-1].parent
        return turns[::-1]

    def siblings(self, turn: Turn) -> list[Turn]:
        """All branches at a turn's place, itself among them, the oldest first."""
        return [other for other in self.turns.values() if other.parent == turn.parent]

    def choose(self, turn: Turn) -> None:
        """Shows the branch of a turn, down to the latest turn of it."""
        at: Turn | None = turn
        while at is not None:
            self.leaf = at.id
            at = next((other for other in reversed(self.turns.values()) if other.parent == self.leaf), None)

    def end_at(self, turn: Turn) -> None:
        """Shows nothing after a turn; what is said next begins a branch there."""
        self.leaf = turn.id

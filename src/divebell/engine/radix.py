"""Nodes of the prefix tree, and finding what two token sequences have in common."""

from bisect import bisect_left
from collections.abc import Sequence as Tokens
from dataclasses import dataclass

from divebell.engine.cache import PAGE
from divebell.engine.sequence import Sequence


class Node:
    """children: in the order of their tokens. ends: running sequences whose full pages end with this one.

    key: stands for all tokens up to the end of this page, where pages are kept on disk; else empty.
    """

    def __init__(self, tokens: tuple[int, ...], page: int, parent: "Node | None", key: bytes = b""):
        self.tokens, self.page, self.parent, self.key = tokens, page, parent, key
        self.children: list[Node] = []
        self.ends: list[Sequence] = []
        self.users = 0

    def place(self, tokens: tuple[int, ...]) -> int:
        """Index of the first child whose tokens are `tokens`, or come after them."""
        return bisect_left(self.children, tokens, key=lambda child: child.tokens)

    def child(self, tokens: tuple[int, ...]) -> "Node | None":
        """The one with exactly these tokens."""
        found = self.at(self.place(tokens))
        return found if found is not None and found.tokens == tokens else None

    def at(self, place: int) -> "Node | None":
        return self.children[place] if 0 <= place < len(self.children) else None

    def remove(self) -> None:
        del self.parent.children[self.parent.place(self.tokens)]


@dataclass(frozen=True, slots=True)
class Branch:
    """A page whose first `shared` tokens are wanted. node: None where a running sequence is still writing to it."""

    page: int
    shared: int
    node: Node | None


def nearest(node: Node, wanted: tuple[int, ...]) -> Branch | None:
    """Children are sorted, so the one that shares most stands beside the place where `wanted` would."""
    place = node.place(wanted)
    children = (node.at(place), node.at(place - 1))
    branches = [Branch(c.page, common_prefix(c.tokens, wanted), c) for c in children if c is not None]
    for s in node.ends:
        if tail := tail_of(s):
            branches.append(Branch(s.pages[len(s.path)], common_prefix(tail, wanted), None))
    best = max(branches, key=lambda branch: branch.shared, default=None)
    return best if best and best.shared else None


def tail_of(sequence: Sequence) -> tuple[int, ...]:
    """The tokens of a running sequence's first page that is not a node yet, as far as they are cached."""
    begin = len(sequence.path) * PAGE
    return tuple(sequence.ids[begin : min(begin + PAGE, sequence.cached)])


def begins(node: Node | None, tokens: tuple[int, ...]) -> bool:
    return node is not None and node.tokens[: len(tokens)] == tokens


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """How many leading tokens are the same."""
    shared, most = 0, min(len(a), len(b))
    while shared < most and a[shared : shared + PAGE] == b[shared : shared + PAGE]:
        shared += PAGE
    while shared < most and a[shared] == b[shared]:
        shared += 1
    return min(shared, most)

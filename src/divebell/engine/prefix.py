"""What has been computed, as a radix tree over token ids: a common beginning of any two requests is computed once.

A node is a page: up to PAGE tokens that follow those of its parent. Full pages are shared by every running sequence
that begins with them; `users` counts these. A page that is not full is the end of a sequence: a running one writes to
it, a finished one has left it. Nobody shares it, but what a new sequence has in common with it is copied. Pages without
users are idle: they stay until room is needed, and then the least recently used goes first, leaves before what they
grow on.
"""

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterator
from collections.abc import Sequence as Tokens
from dataclasses import dataclass

from divebell.engine.cache import PAGE, Cache, pages_for
from divebell.engine.sequence import Sequence


class Node:
    """children: in the order of their tokens. ends: running sequences whose full pages end with this one."""

    def __init__(self, tokens: tuple[int, ...], page: int, parent: "Node | None"):
        self.tokens, self.page, self.parent = tokens, page, parent
        self.children: list[Node] = []
        self.ends: list[Sequence] = []
        self.users = 0

    def place(self, tokens: tuple[int, ...]) -> int:
        """Index of the first child whose tokens are `tokens`, or come after them."""
        return bisect_left(self.children, tokens, key=lambda child: child.tokens)

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


class PrefixTree:
    """Owner of the cache's pages: each is free, a node's, or a running sequence's own because it is not full yet."""

    def __init__(self, cache: Cache):
        self.cache = cache
        self._root = Node((), -1, None)
        self._idle: OrderedDict[Node, None] = OrderedDict()  # oldest first; a node comes after all its children

    @property
    def available(self) -> int:
        """Pages that can be had."""
        return self.cache.free_pages + len(self._idle)

    def common(self, sequence: Sequence) -> tuple[int, int]:
        """How many of a sequence's reusable tokens are cached, and how many idle pages it would share."""
        path, branch = self._match(sequence)
        return len(path) * PAGE + (branch.shared if branch else 0), sum(not node.users for node in path)

    def attach(self, sequence: Sequence) -> None:
        """Gives a sequence that has no pages whatever is cached of its reusable tokens."""
        sequence.path, branch = self._match(sequence)
        for node in sequence.path:
            self._use(node)
        self._end(sequence).ends.append(sequence)
        sequence.pages = [node.page for node in sequence.path]
        sequence.cached = len(sequence.pages) * PAGE
        if branch:
            self._continue(sequence, branch)

    def extend(self, sequence: Sequence, tokens: int) -> bool:
        """Makes room for a sequence's first `tokens` tokens, or tells that there is none."""
        wanted = pages_for(tokens) - len(sequence.pages)
        if wanted > self.available:
            return False
        sequence.pages += [self._page() for _ in range(wanted)]
        return True

    def commit(self, sequence: Sequence) -> None:
        """Shares the pages that have become full."""
        while len(_tail(sequence)) == PAGE:
            self._close_page(sequence)

    def release(self, sequence: Sequence) -> None:
        """Takes all pages from a sequence. What they hold stays for others, unless the sequence failed."""
        end, spare = self._end(sequence), sequence.pages[len(sequence.path) :]
        end.ends.remove(sequence)
        if not sequence.error:
            self._leave(end, _tail(sequence), spare)
        self.cache.give_back(spare)
        for node in reversed(sequence.path):
            self._disuse(node)
            if sequence.error and not node.users and not node.children:
                self._drop(node)
        sequence.pages, sequence.path, sequence.cached = [], [], 0

    def check_integrity(self, running: Tokens[Sequence]) -> None:
        """Raises RuntimeError unless free, nodes' and running sequences' pages are all pages, and users are counted."""
        nodes = list(self._nodes())
        self.cache.check_integrity([*([node.page] for node in nodes), *(s.pages[len(s.path) :] for s in running)])
        users = Counter(node for s in running for node in s.path)
        ends = Counter(self._end(s) for s in running)
        order = {node: position for position, node in enumerate(self._idle)}
        for node in nodes:
            following = node.parent.at(node.parent.place(node.tokens) + 1)
            children = [order.get(child, len(order)) for child in node.children]
            _check(node.users == users[node] and len(node.ends) == ends[node], "users are miscounted", node)
            _check((node in order) == (not node.users), "idle pages are not those without users", node)
            _check(node.users or all(place < order[node] for place in children), "a child would go later", node)
            _check(not children or len(node.tokens) == PAGE, "a page that is not full is built on", node)
            _check(not _begins(following, node.tokens), "a page is double", node)
        _check(len(order) == sum(not node.users for node in nodes), "an idle page is not in the tree", self._root)
        for s in running:
            tokens = [token for node in s.path for token in node.tokens]
            pages = [node.page for node in s.path]
            _check(tokens == s.ids[: len(tokens)] and pages == s.pages[: len(pages)], "a wrong path", self._end(s))

    def _match(self, sequence: Sequence) -> tuple[list[Node], Branch | None]:
        """Full pages from the root on, and the page beside them that has most in common with what follows."""
        path, node = [], self._root
        while True:
            begin = len(path) * PAGE
            wanted = tuple(sequence.ids[begin : min(begin + PAGE, sequence.reusable)])
            branch = _nearest(node, wanted)
            if branch is None or branch.shared < PAGE:
                return path, branch
            node = branch.node
            path.append(node)

    def _continue(self, sequence: Sequence, branch: Branch) -> None:
        """A page with the branch's tokens, for the sequence to write on.

        A copy; or the page itself if nothing is lost by that, or there is no room for a copy.
        """
        node = branch.node
        idle = node in self._idle
        if idle:
            del self._idle[node]
        if idle and (branch.shared == len(node.tokens) < PAGE or not self.available):
            node.remove()
            page = node.page
        elif self.available:
            page = self._page()
            self.cache.copy(branch.page, page)
            if idle:
                self._idle[node] = None
        else:
            return
        sequence.pages.append(page)
        sequence.cached += branch.shared

    def _close_page(self, sequence: Sequence) -> None:
        """Makes a node of the first page that is not one yet, or shares the node that others have made meanwhile."""
        parent, index, tokens = self._end(sequence), len(sequence.path), _tail(sequence)
        node = parent.at(parent.place(tokens))
        if node is not None and node.tokens == tokens:
            self.cache.give_back([sequence.pages[index]])
            sequence.pages[index] = node.page
        else:
            node = self._insert(parent, tokens, sequence.pages[index])
        self._use(node)
        parent.ends.remove(sequence)
        node.ends.append(sequence)
        sequence.path.append(node)

    def _leave(self, end: Node, tokens: tuple[int, ...], spare: list[int]) -> None:
        """The last page of a sequence as an idle node, unless another node begins with the same tokens."""
        if tokens and not _begins(end.at(end.place(tokens)), tokens):
            self._insert(end, tokens, spare.pop(0))

    def _insert(self, parent: Node, tokens: tuple[int, ...], page: int) -> Node:
        """A new idle node; an end that it contains goes."""
        shorter = parent.at(parent.place(tokens) - 1)
        if shorter is not None and tokens[: len(shorter.tokens)] == shorter.tokens:
            self._drop(shorter)
        node = Node(tokens, page, parent)
        parent.children.insert(parent.place(tokens), node)
        self._idle[node] = None
        return node

    def _page(self) -> int:
        if not self.cache.free_pages:
            self._drop(next(iter(self._idle)))
        return self.cache.take(1)[0]

    def _drop(self, node: Node) -> None:
        del self._idle[node]
        node.remove()
        self.cache.give_back([node.page])

    def _use(self, node: Node) -> None:
        self._idle.pop(node, None)
        node.users += 1

    def _disuse(self, node: Node) -> None:
        node.users -= 1
        if not node.users:
            self._idle[node] = None

    def _end(self, sequence: Sequence) -> Node:
        return sequence.path[-1] if sequence.path else self._root

    def _nodes(self) -> Iterator[Node]:
        below = list(self._root.children)
        while below:
            node = below.pop()
            below += node.children
            yield node


def _nearest(node: Node, wanted: tuple[int, ...]) -> Branch | None:
    """Children are sorted, so the one that shares most stands beside the place where `wanted` would."""
    place = node.place(wanted)
    children = (node.at(place), node.at(place - 1))
    branches = [Branch(c.page, common_prefix(c.tokens, wanted), c) for c in children if c is not None]
    for s in node.ends:
        if tail := _tail(s):
            branches.append(Branch(s.pages[len(s.path)], common_prefix(tail, wanted), None))
    best = max(branches, key=lambda branch: branch.shared, default=None)
    return best if best and best.shared else None


def _tail(sequence: Sequence) -> tuple[int, ...]:
    """The tokens of a running sequence's first page that is not a node yet, as far as they are cached."""
    begin = len(sequence.path) * PAGE
    return tuple(sequence.ids[begin : min(begin + PAGE, sequence.cached)])


def _begins(node: Node | None, tokens: tuple[int, ...]) -> bool:
    return node is not None and node.tokens[: len(tokens)] == tokens


def _check(holds: bool, rule: str, node: Node) -> None:
    if not holds:
        raise RuntimeError(f"prefix tree: {rule} (page {node.page}, {len(node.tokens)} tokens, {node.users} users)")


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """How many leading tokens are the same."""
    shared, most = 0, min(len(a), len(b))
    while shared < most and a[shared : shared + PAGE] == b[shared : shared + PAGE]:
        shared += PAGE
    while shared < most and a[shared] == b[shared]:
        shared += 1
    return min(shared, most)

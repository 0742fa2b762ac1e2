"""What has been computed, as a radix tree over token ids: a common beginning of any two requests is computed once.

Each adapter has a root of its own, by what it computes: pages are never shared between adapters.

A node is a page: up to PAGE tokens that follow those of its parent. Full pages are shared by every running sequence
that begins with them; `users` counts these. A page that is not full is the end of a sequence: a running one writes to
it, a finished one has left it. Nobody shares it, but what a new sequence has in common with it is copied. Pages without
users are idle: they stay until room is needed, and then the least recently used goes first, leaves before what they
grow on. With a store, what goes is kept on disk, and comes back when a sequence wants it.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from collections.abc import Sequence as Tokens
from itertools import islice

from divebell.engine.cache import PAGE, Cache, pages_for
from divebell.engine.page_file import key_of, key_with
from divebell.engine.radix import Branch, Node, begins, common_prefix, nearest, tail_of
from divebell.engine.sequence import Sequence
from divebell.engine.store import Store
from divebell.models.adapter import Adapter

MOST_LOOKED_AT = 256  # pages on disk that follow one page, to find the one that has most in common with a prompt


class PrefixTree:
    """Owner of the cache's pages: each is free, a node's, or a running sequence's own because it is not full yet."""

    def __init__(self, cache: Cache, store: Store | None = None):
        self.cache, self._store = cache, store
        self._roots: dict[bytes, Node] = {}
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
        """Begins a sequence, with nothing of the cache yet."""
        sequence.pages, sequence.path, sequence.cached, sequence.settled = [], [], 0, False
        self._root(sequence).ends.append(sequence)

    def settle(self, sequence: Sequence, most: int) -> None:
        """Gives a sequence what is cached of its reusable tokens, up to `most` pages of it from disk.

        It is `settled` when there is no more.
        """
        while wanted := _next_page(sequence):
            end = self._end(sequence)
            node = end.child(wanted)
            if node is None and self._store and self._store.has(end.key, wanted):
                if not most:
                    return
                most -= 1
                node = self._fetch(end, key_of(end.key, wanted))
            if node is None:
                break
            sequence.pages.append(node.page)
            sequence.cached += PAGE
            self._advance(sequence, node)
        sequence.settled, sequence.borrowed = True, len(sequence.path)
        self._branch_off(sequence)

    def extend(self, sequence: Sequence, tokens: int) -> bool:
        """Makes room for a sequence's first `tokens` tokens, or tells that there is none."""
        wanted = pages_for(tokens) - len(sequence.pages)
        if wanted > self.available:
            return False
        sequence.pages += [self._page() for _ in range(wanted)]
        return True

    def commit(self, sequence: Sequence) -> None:
        """Shares the pages that have become full."""
        while len(tail_of(sequence)) == PAGE:
            self._close_page(sequence)

    def release(self, sequence: Sequence) -> None:
        """Takes all pages from a sequence. What they hold stays for others, but nothing that a failed one computed."""
        end, spare = self._end(sequence), sequence.pages[len(sequence.path) :]
        end.ends.remove(sequence)
        if not sequence.error:
            self._leave(end, tail_of(sequence), spare)
        self.cache.give_back(spare)
        for place, node in reversed(list(enumerate(sequence.path))):
            self._disuse(node)
            if sequence.error and place >= sequence.borrowed and not node.users and not node.children:
                self._drop(node)
        sequence.pages, sequence.path, sequence.cached, sequence.settled = [], [], 0, False

    def lend(self, count: int) -> list[int] | None:
        """Room of so many pages for something else, or None where so many can't be had."""
        if count > self.available:
            return None
        while self.cache.free_pages < count:
            self._drop_oldest()
        return self.cache.lend(count)

    def forget(self, adapter: Adapter) -> None:
        """Gives back the pages of an adapter that nobody uses any more; with a store, they are kept there."""
        root = self._roots.get(adapter.key)
        if root is None or any(node.ends or node.users for node in (root, *_below(root))):
            return
        for node in [node for node in self._idle if _root_of(node) is root]:
            self._save(node, wait=False)
            self._drop(node)
        del self._roots[adapter.key]

    def keep(self) -> None:
        """Everything idle to disk, if there is a store; returns when it is there."""
        if self._store:
            for node in self._idle:
                self._save(node, wait=True)
            self._store.close()

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
            _check(not begins(following, node.tokens), "a page is double", node)
        if len(order) != sum(not node.users for node in nodes):
            raise RuntimeError("prefix tree: an idle page is not in the tree")
        for s in running:
            tokens = [token for node in s.path for token in node.tokens]
            pages = [node.page for node in s.path]
            _check(tokens == s.ids[: len(tokens)] and pages == s.pages[: len(pages)], "a wrong path", self._end(s))

    def _match(self, sequence: Sequence) -> tuple[list[Node], Branch | None]:
        """Full pages from the root on, and the page beside them that has most in common with what follows."""
        path, node = [], self._root(sequence)
        while True:
            begin = len(path) * PAGE
            wanted = tuple(sequence.ids[begin : min(begin + PAGE, sequence.reusable)])
            branch = nearest(node, wanted)
            if branch is None or branch.shared < PAGE:
                return path, branch
            node = branch.node
            path.append(node)

    def _branch_off(self, sequence: Sequence) -> None:
        """Beside the last full page, what begins as the sequence goes on."""
        end, begin = self._end(sequence), sequence.cached
        wanted = tuple(sequence.ids[begin : min(begin + PAGE, sequence.reusable)])
        branch = nearest(end, wanted)
        if self._store and self._fetch_longer(end, wanted, branch.shared if branch else 0):
            branch = nearest(end, wanted)
        if branch:
            self._continue(sequence, branch)

    def _fetch_longer(self, end: Node, wanted: tuple[int, ...], shared: int) -> Node | None:
        """From disk, the page that shares most with `wanted`, if that is more than `shared` tokens."""
        found = islice(self._store.following(end.key), MOST_LOOKED_AT)
        longest, key = max(((common_prefix(tokens, wanted), key) for key, tokens in found), default=(0, b""))
        return self._fetch(end, key) if longest > shared else None

    def _fetch(self, parent: Node, key: bytes) -> Node | None:
        if not self.available:
            return None
        page = self._page()
        tokens = self._store.load(parent.key, key, page)
        if tokens is None or parent.child(tokens):
            self.cache.give_back([page])
            return None
        return self._insert(parent, tokens, page)

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
        parent, index, tokens = self._end(sequence), len(sequence.path), tail_of(sequence)
        node = parent.child(tokens)
        if node is not None:
            self.cache.give_back([sequence.pages[index]])
            sequence.pages[index] = node.page
        else:
            node = self._insert(parent, tokens, sequence.pages[index])
        self._advance(sequence, node)

    def _advance(self, sequence: Sequence, node: Node) -> None:
        self._use(node)
        self._end(sequence).ends.remove(sequence)
        node.ends.append(sequence)
        sequence.path.append(node)

    def _leave(self, end: Node, tokens: tuple[int, ...], spare: list[int]) -> None:
        """The last page of a sequence as an idle node, unless another node begins with the same tokens."""
        if tokens and not begins(end.at(end.place(tokens)), tokens):
            self._insert(end, tokens, spare.pop(0))

    def _insert(self, parent: Node, tokens: tuple[int, ...], page: int) -> Node:
        """A new idle node; an end that it contains goes."""
        shorter = parent.at(parent.place(tokens) - 1)
        if shorter is not None and tokens[: len(shorter.tokens)] == shorter.tokens:
            self._drop(shorter)
        node = Node(tokens, page, parent, key_of(parent.key, tokens) if self._store else b"")
        parent.children.insert(parent.place(tokens), node)
        self._idle[node] = None
        return node

    def _page(self) -> int:
        if not self.cache.free_pages:
            self._drop_oldest()
        return self.cache.take(1)[0]

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._idle))
        self._save(oldest, wait=False)
        self._drop(oldest)

    def _save(self, node: Node, wait: bool) -> None:
        if self._store:
            self._store.save(node.parent.key, node.tokens, node.page, wait)

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
        return sequence.path[-1] if sequence.path else self._root(sequence)

    def _root(self, sequence: Sequence) -> Node:
        own = sequence.adapter.key if sequence.adapter else b""
        if own not in self._roots:
            above = self._store.root if self._store else b""
            self._roots[own] = Node((), -1, None, key_with(above, own) if self._store and own else above)
        return self._roots[own]

    def _nodes(self) -> Iterator[Node]:
        for root in self._roots.values():
            yield from _below(root)


def _below(root: Node) -> Iterator[Node]:
    below = list(root.children)
    while below:
        node = below.pop()
        below += node.children
        yield node


def _root_of(node: Node) -> Node:
    while node.parent is not None:
        node = node.parent
    return node


def _next_page(sequence: Sequence) -> tuple[int, ...]:
    """The tokens of the next page, if it may be reused whole; else nothing."""
    begin = len(sequence.path) * PAGE
    return tuple(sequence.ids[begin : begin + PAGE]) if begin + PAGE <= sequence.reusable else ()


def _check(holds: bool, rule: str, node: Node) -> None:
    if not holds:
        raise RuntimeError(f"prefix tree: {rule} (page {node.page}, {len(node.tokens)} tokens, {node.users} users)")

"""The adapters beside a model's weights, by name. Their memory is the cache's: as many pages as they take are lent."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from divebell.config import format_bytes
from divebell.engine.prefix import PrefixTree
from divebell.engine.sequence import Sequence
from divebell.errors import BadInput, OverBudget
from divebell.models.adapter import Adapter

MOST_LETTERS = 100


@dataclass(frozen=True, slots=True)
class Loaded:
    """room: pages of the cache that nobody else has while the adapter is there."""

    adapter: Adapter
    room: list[int]


class Adapters:
    """For the thread that owns the cache. leaving: dropped, and still used by sequences that had begun."""

    def __init__(self, tree: PrefixTree):
        self._tree, self._coming = tree, set()
        self.named: dict[str, Loaded] = {}
        self.leaving: list[Loaded] = []

    def get(self, name: str | None) -> Adapter | None:
        """None for None. Raises BadInput for a name that there is not."""
        return None if name is None else self._named(name).adapter

    def check(self, sequence: Sequence) -> None:
        """Raises BadInput where a sequence's adapter has been dropped."""
        if sequence.adapter and all(sequence.adapter is not loaded.adapter for loaded in self.named.values()):
            raise BadInput("the adapter of this request has been dropped; add it again")

    def reserve(self, name: str, nbytes: int, least_pages: int) -> list[int]:
        """Room for a new one. Raises BadInput for a name that can't be or is there, OverBudget with the sum."""
        check_name(name)
        if name in self.named or name in self._coming:
            raise BadInput(f"there is an adapter {name!r} already; drop it first, or take another name")
        pages, cache = pages_of(nbytes, self._tree.cache.page_bytes), self._tree.cache
        spare = cache.num_pages - cache.lent_pages - least_pages
        room = self._tree.lend(pages) if pages <= spare else None
        if room is None:
            free = max(min(spare, self._tree.available), 0) * cache.page_bytes
            raise OverBudget(
                f"adapter {name!r} takes {format_bytes(nbytes)}, and {format_bytes(free)} of the cache can be spared; "
                "give more ram, load the model with a smaller context, or drop another adapter"
            )
        self._coming.add(name)
        return room

    def give_back(self, name: str, room: list[int]) -> None:
        """What was reserved for an adapter that does not come."""
        self._coming.discard(name)
        self._tree.cache.take_back(room)

    def add(self, name: str, adapter: Adapter, room: list[int]) -> None:
        self._coming.discard(name)
        self.named[name] = Loaded(adapter, room)

    def drop(self, name: str) -> None:
        """Raises BadInput for a name that there is not."""
        self._named(name)
        self.leaving.append(self.named.pop(name))

    def let_go(self, used: Iterable[Adapter | None]) -> None:
        """Frees what has left and is none of those."""
        used = {id(adapter) for adapter in used}
        gone = [loaded for loaded in self.leaving if id(loaded.adapter) not in used]
        self.leaving = [loaded for loaded in self.leaving if id(loaded.adapter) in used]
        staying = {loaded.adapter.key for loaded in (*self.named.values(), *self.leaving)}
        for loaded in gone:
            self._tree.cache.take_back(loaded.room)
            if loaded.adapter.key not in staying:
                self._tree.forget(loaded.adapter)

    def _named(self, name: str) -> Loaded:
        if name not in self.named:
            known = ", ".join(map(repr, self.named)) or "none"
            raise BadInput(f"there is no adapter {name!r}; loaded: {known}")
        return self.named[name]


def check_name(name: object) -> None:
    """Raises BadInput unless an adapter may be called so: it appears in addresses and in lists."""
    if not isinstance(name, str) or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise BadInput(f"an adapter can't be called {name!r}; use letters, digits, '-', '_' and '.'")
    if len(name) > MOST_LETTERS:
        raise BadInput(f"an adapter's name has {len(name)} letters; at most {MOST_LETTERS} are allowed")


def pages_of(nbytes: int, page_bytes: int) -> int:
    return ceil(nbytes / page_bytes)

"""Several tokens a step without a second model: what followed the same words before is guessed to follow again.

The guesses are run together with the last token, and the ordinary sampler draws from the rows one after the other, for
as long as it draws what was guessed. So every token is drawn from the logits that it would be drawn from alone, with
the same random number, and with the penalties and the grammar in the same state: the text is the same, token by token.
(For a proposal that is sure of one token this is also what rejection sampling does, arXiv 2211.17192: a guess is taken
with its own probability, and what comes in its place has the distribution of the others.)

A guess costs a row of arithmetic, and experts that nobody else needed. So three things are measured all the time: how
often guesses are right, by how long the agreement before them is, in each request, also while none are run; how long
steps take without guesses; and how much longer with them. A guess is run where it is likely to save more than it costs.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Sequence as Tokens
from statistics import median
from typing import NamedTuple

MOST_GUESSES = 32
GRAM = 3  # tokens that must agree before anything is guessed
LONGEST = 64  # tokens of agreement that are told apart
CANDIDATES = 8  # places that are looked at for the longest agreement
MEMORY = 0.95  # of how often guesses were right, for each new one
DOUBT = 2.0  # what is believed at first weighs as much as so many guesses
# How often guesses are right after 2-3, 4-7, 8-15, 16-31, 32-63 and more tokens of agreement, until it is known.
BELIEFS = {2: 0.3, 3: 0.5, 4: 0.7, 5: 0.85, 6: 0.9, 7: 0.9}
SAMPLES = 15  # steps whose median counts
REFRESH = 64  # steps after which what a plain step takes is measured again, and what did not pay is tried again
UNKNOWN = 0.5  # of what a token is worth: what a guess is taken to cost before it has been measured


class Guess(NamedTuple):
    """probability: that this token and all guesses before it are right."""

    token: int
    probability: float


class Guesser:
    """One request's guesses. ids: its tokens, which grow; they are looked at when guesses are asked for.

    `_source` is where the token that is guessed stands, `_length` how many tokens before it agree with the last ones.
    """

    def __init__(self, ids: list[int]):
        self._ids = ids
        self._latest: dict[tuple[int, ...], int] = {}  # gram -> what follows it stands here
        self._earlier = array("q")  # for the end of each gram: what follows the same gram before that
        self._source, self._length = 0, 0
        self._hits: dict[int, float] = defaultdict(float)
        self._tries: dict[int, float] = defaultdict(float)
        for end in range(1, len(ids)):
            self._remember(end)

    def guesses(self, most: int) -> list[Guess]:
        """At most so many, none where the last tokens have not stood anywhere before."""
        for end in range(len(self._earlier) + 1, len(self._ids) + 1):
            self._judge(self._ids[end - 1])
            candidate = self._remember(end)
            if not self._length and candidate:
                self._search(candidate, end)
        return self._following(min(most, MOST_GUESSES)) if self._length else []

    def _judge(self, token: int) -> None:
        """`token` has come: was it what would have been guessed?"""
        if not self._length:
            return
        kind, right = _kind(self._length), self._ids[self._source] == token
        self._tries[kind] = self._tries[kind] * MEMORY + 1
        self._hits[kind] = self._hits[kind] * MEMORY + right
        self._source, self._length = (self._source + 1, min(self._length + 1, LONGEST)) if right else (0, 0)

    def _remember(self, end: int) -> int:
        """Notes the gram before `end`; gives what followed the same gram last, 0 for nowhere."""
        gram = tuple(self._ids[end - GRAM : end]) if end >= GRAM else ()
        earlier = self._latest.get(gram, 0) if gram else 0
        self._earlier.append(earlier)
        if gram:
            self._latest[gram] = end
        return earlier

    def _search(self, candidate: int, end: int) -> None:
        """The latest of the places with the longest agreement."""
        for _ in range(CANDIDATES):
            if not candidate:
                break
            length = self._agreement(candidate, end)
            if length > self._length:
                self._source, self._length = candidate, length
            candidate = self._earlier[candidate - 1]

    def _agreement(self, source: int, end: int) -> int:
        ids, length = self._ids, GRAM
        while length < min(LONGEST, source) and ids[source - 1 - length] == ids[end - 1 - length]:
            length += 1
        return length

    def _following(self, most: int) -> list[Guess]:
        """A guess may be a copy of a guess: text that repeats itself goes on repeating itself."""
        texts, found, probability = self._ids, [], 1.0
        for ahead in range(most):
            place = self._source + ahead
            token = texts[place] if place < len(texts) else found[place - len(texts)].token
            probability *= self._trust(min(self._length + ahead, LONGEST))
            found.append(Guess(token, probability))
        return found

    def _trust(self, length: int) -> float:
        kind = _kind(length)
        return (self._hits[kind] + DOUBT * BELIEFS[kind]) / (self._tries[kind] + DOUBT)


def _kind(length: int) -> int:
    return length.bit_length()


class Profit:
    """What guesses cost on this machine, with this model, beside so many other requests.

    A token is worth its share of a step without guesses. Costs are kept for each number of guesses: that a row costs as
    much as another is not assumed, and is far from true where a few rows are computed in another way than many.
    """

    def __init__(self):
        self._plain: dict[int, Typical] = {}  # by requests: seconds of a step without guesses
        self._more: dict[int, dict[int, Typical]] = {}  # by requests to a factor of two, by guesses: seconds on top
        self._since_plain = self._since_tried = 0

    def worthwhile(self, guesses: Tokens[Guess], requests: int, before: int = 0) -> list[int]:
        """The tokens of those first guesses that save the most time, in a step with `requests` that decode.

        before: guesses that are in the step already.
        """
        if not guesses or requests not in self._plain or self._since_plain >= REFRESH:
            return []
        worth = self._plain[requests].value / requests
        costs = Costs(self._more.get(requests.bit_length(), {}), UNKNOWN * worth)
        best, count, saved = 0.0, 0, costs.of(before)
        for number, guess in enumerate(guesses, 1):
            saved += guess.probability * worth
            gain = saved - costs.of(before + number)
            if gain > best:
                best, count = gain, number
        return [guess.token for guess in guesses[: count or self._try_again(guesses)]]

    def took(self, requests: int, guesses: int, seconds: float) -> None:
        """Learns from a step in which nothing but `requests` decoding ones was computed, with so many guesses."""
        if not guesses:
            self._plain.setdefault(requests, Typical()).add(seconds)
            self._since_plain = 0
            return
        self._since_plain += 1
        self._since_tried = 0
        if plain := self._plain.get(requests):
            more = self._more.setdefault(requests.bit_length(), {})
            more.setdefault(guesses, Typical()).add(max(seconds - plain.value, 0.0))

    def _try_again(self, guesses: Tokens[Guess]) -> int:
        """Once in a while, a likely guess is run though it has not paid: what it costs may have been a disturbance."""
        self._since_tried += 1
        return int(self._since_tried >= REFRESH and guesses[0].probability > UNKNOWN)


class Costs:
    """known: seconds by number of guesses. rate: of each guess beyond those, but no more than a larger number took."""

    def __init__(self, known: dict[int, "Typical"], rate: float):
        self._known, self._rate = known, rate
        self._counts = sorted(known)

    def of(self, guesses: int) -> float:
        place = bisect_right(self._counts, guesses)
        below = self._counts[place - 1] if place else 0
        cost = (self._known[below].value if below else 0.0) + (guesses - below) * self._rate
        return min(cost, self._known[self._counts[place]].value) if place < len(self._counts) else cost


class Typical:
    """The median of the latest samples."""

    def __init__(self):
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self.value = 0.0

    def add(self, sample: float) -> None:
        self._samples.append(sample)
        self.value = median(self._samples)

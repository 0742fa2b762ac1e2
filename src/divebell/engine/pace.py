"""How many prompt tokens to read in a step beside sequences that are decoding, learned from how long steps take."""

STEP_TOKENS = 512  # of one step: enough rows to use the arithmetic well
SLOWDOWN = 1.8  # of decoding while prompts are read, on the average
STALL = 6.0  # of one token: a step with a prompt takes at most so many times as long as one without
_FIRST = 8
_MOST_CHANGE = 1.4  # from one step to the next; what a step took may be a disturbance


class Pace:
    """What a prompt token costs depends on the model, the machine, the depth and the other tokens of the step.

    So nothing is assumed of it. Each step with a prompt corrects the number of tokens, towards a step that is STALL
    times as long as the same decoding alone: the more tokens in a step, the less each costs. What that is too much is
    owed to those that decode, and paid back by steps without prompts, which also show what decoding takes by itself.
    """

    def __init__(self):
        self._alone: dict[int, float] = {}  # seconds of a step without prompts, by its tokens
        self._tokens = float(_FIRST)
        self._owed = 0.0

    def prompt_tokens(self, decoding: int) -> int:
        """How many tokens of prompts a step with `decoding` other tokens may read."""
        if not decoding:
            return STEP_TOKENS
        return 0 if self._owed > 0 or decoding not in self._alone else int(self._tokens)

    def took(self, decoding: int, prompt: int, seconds: float) -> None:
        """Learns from a step."""
        if decoding and not prompt:
            self._alone[decoding] = _settled(self._alone.get(decoding, seconds), seconds)
        if decoding in self._alone:
            alone = self._alone[decoding]
            self._owed = max(self._owed + (seconds - alone if prompt else 0) - (SLOWDOWN - 1) * alone, 0.0)
            self._correct(alone, prompt, seconds)
        elif not decoding:
            self._owed = 0.0

    def _correct(self, alone: float, prompt: int, seconds: float) -> None:
        change = (STALL - 1) * alone / max(seconds - alone, 1e-9)
        change = min(max(change, 1 / _MOST_CHANGE), _MOST_CHANGE)
        if prompt and (prompt >= int(self._tokens) or change < 1):
            self._tokens = min(max(self._tokens * change, 1.0), STEP_TOKENS)


def _settled(old: float, new: float) -> float:
    """A disturbance only makes a step slower, so what is faster is believed at once."""
    return new if new < old else old + (new - old) / 4

"""DeepSeek-R1: `<think>` reasoning `</think>` answer (DeepSeek-R1 README, usage recommendations).

R1's own template opens `<think>` in the prompt, the first distills' templates left it to the model: both are
understood. White space around the reasoning, and before the answer, belongs to neither.
"""

OPEN, CLOSE = "<think>", "</think>"


class R1Splitter:
    """`opened`: the prompt ends within `<think>`."""

    def __init__(self, opened: bool):
        self.reasoned = opened
        self._step = self._reason if opened else self._begin
        self._held = ""
        self._blank = True

    def push(self, text: str) -> tuple[str, str]:
        self._held += text
        return self._step(final=False)

    def flush(self) -> tuple[str, str]:
        return self._step(final=True)

    def _begin(self, final: bool) -> tuple[str, str]:
        """Nothing but white space so far: is the next thing `<think>`?"""
        start = self._held.lstrip()
        if start.startswith(OPEN):
            self._held, self.reasoned, self._step = start.removeprefix(OPEN), True, self._reason
            return self._step(final)
        if OPEN.startswith(start) and not final:
            return "", ""
        self._blank, self._step = False, self._answer
        return self._step(final)

    def _reason(self, final: bool) -> tuple[str, str]:
        inside, closed, after = self._held.partition(CLOSE)
        if closed:
            reasoning = self._without_blank_start(inside.rstrip())
            self._held, self._blank, self._step = after, True, self._answer
            return reasoning, self._step(final)[1]
        solid = inside.rstrip() if final else without_beginning_of(CLOSE, inside).rstrip()
        self._held = self._held[len(solid) :]
        return self._without_blank_start(solid), ""

    def _answer(self, final: bool) -> tuple[str, str]:
        answer, self._held = self._without_blank_start(self._held), ""
        return "", answer

    def _without_blank_start(self, text: str) -> str:
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        return text


def without_beginning_of(mark: str, text: str) -> str:
    """`text` less the longest tail that `mark` begins with."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if mark.startswith(text[-length:]):
            return text[:-length]
    return text


def splitter(prompt: str) -> R1Splitter:
    return R1Splitter(opened=prompt.rstrip().endswith(OPEN))

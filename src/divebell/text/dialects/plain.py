"""No reasoning: everything is the answer."""


class PlainSplitter:
    reasoned = False

    def push(self, text: str) -> tuple[str, str]:
        return "", text

    def flush(self) -> tuple[str, str]:
        return "", ""


def splitter(prompt: str) -> PlainSplitter:
    return PlainSplitter()

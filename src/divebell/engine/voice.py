"""What makes text of a model's tokens, and tokens of text."""

from functools import cached_property

from divebell.engine.garbage import uncollected

USUAL = 8  # characters of a token at most, on the average, in a text that anybody would write
SLICE = 1 << 16  # characters
SLACK = 64  # tokens that a cut may add


class Voice:
    """Tokenizer and chat format of a checkpoint, loaded when first used: token ids alone need neither."""

    def __init__(self, checkpoint: object):
        self._checkpoint = checkpoint

    @cached_property
    @uncollected()
    def tokenizer(self):
        from divebell.text.tokenizer import load_tokenizer

        return load_tokenizer(self._checkpoint)

    @cached_property
    def chat(self):
        from divebell.text.chat import load_chat

        return load_chat(self._checkpoint, self.tokenizer)

    @cached_property
    def speaks(self) -> bool:
        """Whether there is a tokenizer at all: test checkpoints and synthetic ones may have none."""
        path = self._checkpoint.path
        return self._checkpoint.kind == "gguf" or (path / "tokenizer.json").exists()

    def close(self) -> None:
        """Lets go of the files."""
        self._checkpoint.close()

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        if self.speaks:
            return frozenset(self.tokenizer.eos_ids)
        ids = self._checkpoint.config.get("eos_token_id")
        return frozenset(ids if isinstance(ids, list) else [] if ids is None else [ids])


def is_beyond(tokenizer: object, text: str, most: int) -> bool:
    """Whether a text surely has more than so many tokens.

    Cutting it up takes 300 bytes for each of its characters, so one that looks too long is counted in slices.
    """
    if len(text) <= USUAL * most:
        return False
    counted = 0
    for begin in range(0, len(text), SLICE):
        counted += len(tokenizer.encode(text[begin : begin + SLICE], add_special_tokens=False)) - SLACK
        if counted > most:
            return True
    return False

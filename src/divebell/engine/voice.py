"""What makes text of a model's tokens, and tokens of text."""

from functools import cached_property


class Voice:
    """Tokenizer and chat format of a checkpoint, loaded when first used: token ids alone need neither."""

    def __init__(self, checkpoint: object):
        self._checkpoint = checkpoint

    @cached_property
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

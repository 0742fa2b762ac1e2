"""Whether texts follow a grammar, as `llguidance` sees it with a given tokenizer."""

from types import SimpleNamespace

import llguidance
import tokenizers


class Judge:
    """marks: tokens of `library` that a grammar may name; they and the special ones are no text to it."""

    def __init__(self, library: tokenizers.Tokenizer, marks: frozenset[str], token_bytes):
        self._library = library
        added = library.get_added_tokens_decoder()
        special = [id for id, token in added.items() if token.special or token.content in marks]
        wrapped = SimpleNamespace(
            eos_token_id=library.token_to_id("</s>"),
            bos_token_id=None,
            tokens=[token_bytes(id) for id in range(library.get_vocab_size())],
            special_token_ids=special,
        )
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Encoding(wrapped, library)))

    def accepts(self, grammar: str, text: str) -> bool:
        """Whether the whole text follows the grammar. Fails where the grammar is none."""
        matcher = llguidance.LLMatcher(self._tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar))
        assert not matcher.is_error(), matcher.get_error()
        ids = self._library.encode(text, add_special_tokens=False).ids
        return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


class Encoding:
    """What `TokenizerWrapper` asks for."""

    def __init__(self, wrapped: SimpleNamespace, library: tokenizers.Tokenizer):
        self.__dict__.update(vars(wrapped))
        self._library = library

    def __call__(self, text: str) -> list[int]:
        return self._library.encode(text, add_special_tokens=False).ids

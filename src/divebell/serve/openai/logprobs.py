"""Log-probabilities, in the two forms that OpenAI's API has."""

from collections.abc import Iterable, Sequence

from divebell.engine.sampler import TokenLogprob
from divebell.text.tokenizer import Tokenizer

LEAST = -9999.0  # of a token that can't occur: JSON has no infinity


def content_logprobs(logprobs: Iterable[TokenLogprob], tokenizer: Tokenizer) -> dict[str, object]:
    """Chat's: each token with its bytes, and with the likeliest ones in its place."""

    def token(token_id: int, logprob: float) -> dict[str, object]:
        spelled = tokenizer.token_bytes(token_id)
        text = spelled.decode("utf-8", "replace")
        return {"token": text, "logprob": max(logprob, LEAST), "bytes": list(spelled)}

    content = [
        token(one.token_id, one.logprob) | {"top_logprobs": [token(*pair) for pair in one.top]} for one in logprobs
    ]
    return {"content": content, "refusal": None}


def shown(token_id: int, tokenizer: Tokenizer) -> str:
    """A token as completions show it: what is not a whole character as bytes, so that two never look the same."""
    spelled = tokenizer.token_bytes(token_id)
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelled)


class LegacyLogprobs:
    """Completions': a list for each kind of figure. Offsets are in characters of the text: of a token in the middle of
    one, where it begins.

    before: the last tokens in front of the text. hides_first: the first token has no text there.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = (), hides_first: bool = False):
        self._tokenizer, self._offset, self._hides_first = tokenizer, 0, hides_first
        self._detokenizer = tokenizer.detokenizer(skip_special_tokens=False)
        for token_id in before:
            self._detokenizer.push(token_id)

    def of(self, logprobs: Iterable[TokenLogprob | None], first: int) -> dict[str, list]:
        """The next ones. None: the token `first` of a prompt, which nothing comes before."""
        fields = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for one in logprobs:
            token_id = one.token_id if one else first
            fields["tokens"].append(shown(token_id, self._tokenizer))
            fields["token_logprobs"].append(max(one.logprob, LEAST) if one else None)
            fields["top_logprobs"].append(self._top(one) if one else None)
            fields["text_offset"].append(self._offset)
            if one or not self._hides_first:
                self._offset += len(self._detokenizer.push(token_id))
        return fields

    def _top(self, one: TokenLogprob) -> dict[str, float]:
        """With the token itself, likely or not."""
        top = {}
        for token_id, logprob in (*one.top, (one.token_id, one.logprob)):
            top.setdefault(shown(token_id, self._tokenizer), max(logprob, LEAST))
        return top

"""What a loaded model needs beside its weights and its cache.

The constants are measured on SmolLM2 (49,152 tokens) and Qwen2.5 (151,936), as docs/serving.md tells, and rounded up.
"""

from divebell.engine.grammar import KEPT
from divebell.engine.pace import STEP_TOKENS
from divebell.engine.reading import ROWS
from divebell.engine.scheduler import MOST_RUNNING
from divebell.engine.store import BACKLOG
from divebell.models.replay import MOST_KEPT, MOST_TOKENS

TEXT = 512  # bytes of a cached token outside the cache: id, n-gram, place in the tree, angles
_PROGRAM = 128 << 20  # interpreter, libraries, the page, connections, what the allocator has free
_WORD = 1 << 10  # of an entry of the vocabulary, in the tokenizer and in the grammars' tables
_GRAMMAR = 512 << 10  # of a compiled grammar, and of its copy in a request
_MASK, _PENALTIES = 4, 5  # of an entry of the vocabulary, in a request; one that waits has the second already
_ON_THEIR_WAY = BACKLOG + 2  # pages: the queue's, the one being written, the one being read


def workspace(description: object, kept_page: int) -> dict[str, int]:
    """Bytes by what they are for. description: of the model. kept_page: of a page that goes to disk; 0 if none does."""
    vocabulary = description.vocabulary
    parts = {
        "program": _PROGRAM,
        "tokenizer": _WORD * vocabulary,
        "requests": (KEPT + MOST_RUNNING) * _GRAMMAR + MOST_RUNNING * (_MASK + 2 * _PENALTIES) * vocabulary,
        "step": 4 * (STEP_TOKENS * _numbers(description) + ROWS * vocabulary),
        "recorded steps": 4 * MOST_KEPT * MOST_TOKENS * description.layers * _numbers(description),
        "pages on their way to disk": _ON_THEIR_WAY * kept_page,
    }
    return {name: size for name, size in parts.items() if size}


def _numbers(description: object) -> int:
    """Of a token, within a layer: as many as the layer's matrices have rows, or those of its experts that it passes."""
    return description.active_parameters // (description.layers * description.hidden)

"""llama.cpp's own C interface, as the wheel of `xllamacpp` carries it: exact logits and tokens of the peer."""

import ctypes
from pathlib import Path

import numpy as np


class _Parameters(ctypes.Structure):
    """Larger than any parameter struct of llama.cpp; the fields that we set are its first ones, stable for years."""

    _fields_ = (("words", ctypes.c_uint32 * 128),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


def _library() -> ctypes.CDLL:
    import xllamacpp.xllamacpp

    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    for name in ("llama_model_default_params", "llama_context_default_params"):
        getattr(library, name).restype = _Parameters
    for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab", "llama_get_memory"):
        getattr(library, name).restype = ctypes.c_void_p
    library.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
    library.llama_batch_init.restype = _Batch
    return library


class LlamaCpp:
    """A model and one context of it; everything defaults to what llama.cpp's own tools do."""

    def __init__(self, path: Path, context: int, threads: int):
        self._library = _library()
        self._silence()
        self._library.llama_backend_init()
        model = self._library.llama_model_load_from_file(str(path).encode(), self._library.llama_model_default_params())
        if not model:
            raise SystemExit(f"llama.cpp can't load {path}")
        self._model, self._context_length = ctypes.c_void_p(model), context
        self._vocabulary = ctypes.c_void_p(self._library.llama_model_get_vocab(self._model))
        self._context = ctypes.c_void_p(self._make_context(context, threads))

    def _make_context(self, context: int, threads: int) -> int:
        parameters = self._library.llama_context_default_params()
        parameters.words[0] = parameters.words[1] = parameters.words[2] = context  # n_ctx, n_batch, n_ubatch
        default = parameters.words[7], parameters.words[8]
        if default != (4, 4):
            raise SystemExit(f"this llama.cpp orders its parameters otherwise: threads read {default}, not (4, 4)")
        parameters.words[7] = parameters.words[8] = threads
        return self._library.llama_init_from_model(self._model, parameters)

    def _silence(self) -> None:
        self._log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        self._library.llama_log_set(self._log, None)

    @property
    def vocabulary_size(self) -> int:
        return self._library.llama_vocab_n_tokens(self._vocabulary)

    @property
    def begin(self) -> int | None:
        """The token that is put before every text, if there is one."""
        self._library.llama_vocab_get_add_bos.restype = ctypes.c_bool
        adds = self._library.llama_vocab_get_add_bos(self._vocabulary)
        return self._library.llama_vocab_bos(self._vocabulary) if adds else None

    def tokenize(self, text: str) -> list[int]:
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        count = self._library.llama_tokenize(
            self._vocabulary, data, len(data), ids, len(ids), ctypes.c_bool(True), ctypes.c_bool(False)
        )
        return list(ids[:count])

    def logits(self, ids: list[int], first: int = 0) -> np.ndarray:
        """float32 (len(ids) - first, vocabulary), of a fresh sequence."""
        batch = self._library.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for position, token in enumerate(ids):
            batch.token[position], batch.pos[position] = token, position
            batch.n_seq_id[position], batch.logits[position] = 1, position >= first
            batch.seq_id[position][0] = 0
        memory = ctypes.c_void_p(self._library.llama_get_memory(self._context))
        self._library.llama_memory_clear(memory, ctypes.c_bool(True))
        if self._library.llama_decode(self._context, batch):
            raise SystemExit("llama_decode failed")
        rows = [self._row(position) for position in range(first, len(ids))]
        self._library.llama_batch_free(batch)
        return np.stack(rows)

    def _row(self, position: int) -> np.ndarray:
        pointer = self._library.llama_get_logits_ith(self._context, ctypes.c_int32(position))
        return np.ctypeslib.as_array(pointer, (self.vocabulary_size,)).copy()

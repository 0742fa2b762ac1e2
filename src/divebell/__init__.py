"""divebell runs DeepSeek-class models on the CPU machine you own.

llm = divebell.load("smollm2-135m")
print(llm.generate("Once upon a time", max_tokens=40).text)
"""

TYPE_CHECKING = False  # as type checkers know it; importing typing would hold up the command line
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from divebell import errors
    from divebell.engine.llm import LLM

__version__ = "0.1.0"
__all__ = ["__version__", "errors", "load"]


def __getattr__(name: str) -> object:
    """`divebell.errors` is imported when it is first asked for."""
    if name != "errors":
        raise AttributeError(f"module 'divebell' has no attribute {name!r}")
    import divebell.errors

    return divebell.errors


def load(
    name_or_path: "str | Path",
    weights: str = "stored",
    threads: int | None = None,
    ram: "int | str | None" = None,
    context: int | None = None,
    cache: str | None = None,
    kv_dir: "str | Path | None" = None,
    adapters: "Mapping[str, str | Path] | None" = None,
) -> "LLM":
    """Loads a model: a catalogue name, a folder of safetensors, one .gguf file, or a hub id (`org/name`).

    weights: "stored" computes from the file's own format wherever a kernel exists; "f32", "bf16", "q8" and "q4" convert
        while loading. With "f32" arithmetic is float32 throughout.
    threads: of this process's native pool; None: one for each core.
    ram: bytes, or a size like "16GiB", that weights, cache and workspace may take together; None: nine tenths of what
        the machine has available.
    context: tokens that a prompt and its answer may have together; None: as many as the model knows and ram allows.
    cache: of what numbers the cache is: "f32", "bf16", or for latents "q8" (bytes with two scales a token); None: f32
        with weights "f32", else bf16.
    kv_dir: a folder where what was computed of prompts is kept across restarts, readable by its owner only; it holds
        the prompts' token ids. None: memory alone. See docs/serving.md.
    adapters: folders with adapters in peft's format (`divebell tune lora` writes such), by the names that requests ask
        for them with: llm.generate("...", adapter=NAME). They are kept beside the weights, never merged into them.

    What answers take is written down for `divebell receipts`, never what they say: see docs/costs.md.

    Raises BadFile, Unsupported, Mismatch or PullError for a model that can't be loaded, OverBudget for one that does
    not fit, BadInput for an argument out of range: all of them `divebell.errors.DivebellError`.
    """
    from divebell.costs.receipts import keep_books
    from divebell.engine.load import load as load_now

    llm = load_now(name_or_path, weights, threads, ram, context, cache, kv_dir, adapters)
    keep_books(llm, weights)
    return llm

"""How each family of models writes calls of tools, one module for each way."""

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType

from divebell.text.dialects import hermes, llama3, mistral, r1, v4, v31, v32
from divebell.text.dialects.dialect import Dialect
from divebell.text.dialects.dsml import DSML

# What a template, or a vocabulary, gives its dialect away by; the first that fits is taken.
SIGNS = (
    ("｜DSML｜tool_calls", v4.DIALECT),
    (DSML, v32.DIALECT),
    ("[ARGS]", mistral.NAMED),
    ("[TOOL_CALLS]", mistral.LISTED),
    ("<|python_tag|>", llama3.DIALECT),
    ("<tool_call>", hermes.DIALECT),
    ("<|start_header_id|>", llama3.DIALECT),
)


def dialect_of(templates: Iterable[str], has_token: Callable[[str], bool]) -> Dialect:
    """The dialect of a model with these chat templates; Hermes' where nothing tells, as that needs no training."""
    source = "\n".join(templates)
    if r1.SEPARATOR in source:
        return r1.DIALECT if "```" in source else v31.DIALECT
    written = next((dialect for sign, dialect in SIGNS if sign in source), None)
    if written is None and has_token(r1.SEPARATOR):
        return r1.DIALECT  # Qwen's marks are in the vocabulary of the distills, too
    return written or next((dialect for sign, dialect in SIGNS if has_token(sign)), hermes.DIALECT)


def prompt_code(templates: Iterable[str], config: Mapping, token_id: Callable[[str], int | None]) -> ModuleType | None:
    """The module that makes the prompts of a model that was released without a template, if this is one.

    config: the checkpoint's; V3.2-Exp came with a template and V3.1's dialect, so that the type alone does not tell.
    """
    source = "\n".join(templates)
    if source:
        return (v4 if "｜DSML｜tool_calls" in source else v32) if DSML in source else None
    kind = str(config.get("model_type") or config.get("general.architecture"))
    if kind.startswith(("deepseek_v4", "deepseek4")) or token_id(v4.REMINDER) is not None:
        return v4
    return v32 if kind.startswith(("deepseek_v32", "deepseek32")) else None

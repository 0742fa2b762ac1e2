"""Where checkpoints keep their chat templates."""

from pathlib import Path

from divebell.errors import BadFile

DEFAULT, TOOL_USE = "default", "tool_use"
GGUF_KEY = "tokenizer.chat_template"
MORE_TEMPLATES = "additional_chat_templates"  # a folder within the model's


def stored_templates(checkpoint) -> dict[str, str]:
    """Jinja source by name, of a checkpoint of either kind. Raises BadFile for a field of the wrong type."""
    return gguf_templates(checkpoint) if checkpoint.kind == "gguf" else folder_templates(Path(checkpoint.path))


def gguf_templates(checkpoint) -> dict[str, str]:
    """`tokenizer.chat_template`, and named ones under `tokenizer.chat_template.NAME`."""
    found = {}
    for key, value in checkpoint.config.items():
        if key == GGUF_KEY or key.startswith(GGUF_KEY + "."):
            if not isinstance(value, str):
                raise BadFile(checkpoint.path, key, f"expected text, found {type(value).__name__}")
            found[key.removeprefix(GGUF_KEY).removeprefix(".") or DEFAULT] = value
    return found


def folder_templates(folder: Path) -> dict[str, str]:
    """chat_template.jinja and additional_chat_templates/*.jinja, else `chat_template` in tokenizer_config.json."""
    from divebell.text.folder import read_json

    files = {path.stem: path for path in sorted((folder / MORE_TEMPLATES).glob("*.jinja"))}
    if (folder / "chat_template.jinja").is_file():
        files[DEFAULT] = folder / "chat_template.jinja"
    if files:
        return {name: read_text(path) for name, path in files.items()}
    stated = read_json(folder / "tokenizer_config.json").get("chat_template")
    if stated is None or isinstance(stated, str):
        return {} if stated is None else {DEFAULT: stated}
    try:
        return {str(item["name"]): str(item["template"]) for item in stated}
    except (TypeError, KeyError):
        raise BadFile(folder / "tokenizer_config.json", "chat_template", "expected text or named templates") from None


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (ValueError, OSError) as problem:
        raise BadFile(path, "text", str(problem)) from None

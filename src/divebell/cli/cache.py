"""divebell cache."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from divebell.cli.output import print_json, print_table
from divebell.config import format_bytes
from divebell.engine.page_folder import Kept, clear, default_folder, kept, usual_limit


def cache(action: Literal["list", "clear"], /, *, kv_dir: Path | None = None, json: bool = False) -> None:
    """Show or delete what is kept on disk of prompts that were computed.

    Parameters
    ----------
    action
        list: models, pages and bytes; clear: delete all pages
    kv_dir
        the folder; by default divebell's own, ~/.cache/divebell/kv
    json
        print a JSON object
    """
    folder = kv_dir or default_folder()
    if action == "clear":
        _clear(folder, json)
    else:
        _list(folder, json)


def _clear(folder: Path, json: bool) -> None:
    freed = clear(folder)
    print_json({"folder": folder, "freed": freed}) if json else print(f"{format_bytes(freed)} freed in {folder}")


def _list(folder: Path, json: bool) -> None:
    models = [_fields(one) for one in kept(folder)]
    total = sum(model["bytes"] for model in models)
    limit = usual_limit(folder) if folder.is_dir() else None
    if json:
        print_json({"folder": folder, "bytes": total, "limit": limit, "models": models})
    elif not models:
        print(f"nothing is kept in {folder}")
    else:
        rows = [[m["model"], m["weights"], m["pages"], format_bytes(m["bytes"]), m["used"]] for m in models]
        title = f"{folder}, {format_bytes(total)} of at most {format_bytes(limit)}"
        print_table(["", "weights", "pages", "size", "last used"], rows, title)


def _fields(one: Kept) -> dict[str, object]:
    used = datetime.fromtimestamp(one.used).isoformat(" ", "minutes") if one.pages else ""
    known = {name: str(one.identity.get(name, "unknown")) for name in ("model", "weights")}
    return known | {"pages": one.pages, "bytes": one.bytes, "used": used}

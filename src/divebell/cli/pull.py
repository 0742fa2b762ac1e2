"""divebell pull."""

from divebell.cli.output import print_fields, print_json, print_table
from divebell.config import format_bytes
from divebell.weights import pull as weights_pull
from divebell.weights.catalogue import CATALOGUE
from divebell.weights.store import home, recorded


def pull(model: str | None = None, /, *, json: bool = False) -> None:
    """Fetch a model, verified by its SHA-256 before use, and print where it is.

    An interrupted pull is continued by the next one. Sources are tried in turn; one that can't be reached is passed
    over within 5 seconds.

    Parameters
    ----------
    model
        a name from the catalogue, a hub id (org/name), or one GGUF file of one (org/name:file.gguf);
        without it, the catalogue is shown
    json
        print a JSON object
    """
    if model is None:
        _show_catalogue(json)
        return
    path = weights_pull.pull(model)
    if json:
        record = recorded(path) if path.is_file() else None
        print_json({"path": path, "sha256": record and record["sha256"], "source": record and record["source"]})
    else:
        print(path)


def _show_catalogue(json: bool) -> None:
    entries = [
        {
            "name": entry.name,
            "description": entry.description,
            "licence": entry.licence,
            "bytes": entry.size,
            "sha256": entry.sha256,
            "origin": entry.origin,
            "path": weights_pull.pulled(entry.name),
        }
        for entry in CATALOGUE.values()
    ]
    if json:
        print_json({"home": home(), "models": entries})
        return
    columns = ("name", "size", "licence", "here", "description")
    rows = [
        (e["name"], format_bytes(e["bytes"]), e["licence"], e["path"] is not None, e["description"]) for e in entries
    ]
    print_table(columns, rows)
    print_fields([("folder", home())])

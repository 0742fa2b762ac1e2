"""divebell receipts."""

import sys
import time
from typing import Any

from divebell.cli.output import print_fields, print_json, print_table
from divebell.errors import BadFile


def receipts(*, last: int = 20, csv: bool = False, verify: bool = False, json: bool = False) -> None:
    """Show what answers took: tokens, seconds, energy, carbon, money, and what they would have cost elsewhere.

    Every answer of this machine's models is written down, never its text. Exits with 1 if the chain of rows is damaged.

    Parameters
    ----------
    last
        how many to list; 0 for the sums alone
    csv
        print all of them as CSV, each with the hash that proves those before it
    verify
        check that no row was changed or taken out
    json
        print a JSON object
    """
    from divebell.costs import ledger
    from divebell.costs.receipts import total

    path = ledger.place()
    problems = ledger.damage(path)
    rows = ledger.receipts(path)
    figures = {"ledger": path, "rows": len(rows), "damage": problems, "total": total(rows)}
    if csv:
        _export(rows)
    elif json:
        print_json(figures | {"receipts": rows[-last:] if last > 0 else []})
    elif not verify:
        _show(rows[-last:] if last > 0 else [], figures)
    if problems:
        raise BadFile(path, "the chain", "; ".join(problems))
    if verify and not json and not csv:
        print(f"{path}: {len(rows)} rows, none changed or missing")


def _show(rows: list[dict[str, Any]], figures: dict[str, Any]) -> None:
    columns = ("id", "time", "model", "in", "cached", "out", "s", "J", "g CO2", "marginal $", "all-in $")
    answers = [row for row in rows if row.get("kind") == "answer"]
    if answers:
        print_table(columns, [_cells(row) for row in answers])
        print(f"joules: {answers[-1]['method']}, ± {answers[-1]['uncertainty']:.0%}; grid: {answers[-1]['grid']}")
    print_fields([(_dated(name), f"{value:,.6g}") for name, value in figures["total"].items()])
    if missing := _missing():
        print(missing)


def _dated(name: str) -> str:
    """A sum's name; of an API's price with the date of the list and what limits it."""
    from divebell.costs.prices import prices

    dates = {f"dollars at {price.model}": price.dated for price in prices()}
    return f"{name} ({dates[name]})" if name in dates else name


def _missing() -> str:
    from divebell.costs.settings import load, not_given

    return not_given([name for name in load().assumed if name in ("dollars_per_kwh", "place", "dollars", "watts")])


def _cells(row: dict[str, Any]) -> list[Any]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["time"]))
    tokens = [row[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens")]
    money = [f"{row[name]:.3g}" for name in ("marginal_dollars", "all_in_dollars")]
    return [str(row["id"]), when, row["model"], *tokens, row["seconds"], row["joules"], row["grams_co2"], *money]


def _export(rows: list[dict[str, Any]]) -> None:
    import csv

    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(sys.stdout, names)
    writer.writeheader()
    writer.writerows(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Nested figures as columns of their own."""
    nested = {f"{n}.{k}": v for n, value in row.items() if isinstance(value, dict) for k, v in value.items()}
    return {name: value for name, value in row.items() if not isinstance(value, dict)} | nested

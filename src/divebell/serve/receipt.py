"""What a response says of its cost: the bills of its answers, added up."""

from collections.abc import Iterable, Mapping
from typing import Any

from divebell.engine.generation import Generation

HEADERS = {"x-divebell-joules": "joules", "x-divebell-grams-co2": "grams_co2", "x-divebell-dollars": "all_in_dollars"}


def receipt_of(generations: Iterable[Generation]) -> dict[str, Any] | None:
    """See `divebell.costs.receipts.Bookkeeper.bill`; with "shared_seconds". None where nothing is counted."""
    receipts = [generation.completion().receipt for generation in generations]
    bills = [{**r.bill, "shared_seconds": r.shared_seconds} for r in receipts if r.bill is not None]
    return _sum(bills) if bills else None


def headers(receipt: Mapping[str, Any] | None) -> list[tuple[bytes, bytes]]:
    """For a response that begins when its answers have ended; a stream's last event has the receipt."""
    if receipt is None:
        return []
    return [(name.encode(), f"{receipt[field]:.6g}".encode()) for name, field in HEADERS.items()]


def _sum(bills: list[dict[str, Any]]) -> dict[str, Any]:
    """Amounts are added; what is the same for all (method, uncertainty, model, ...) is taken from the first."""
    first = bills[0]
    summed = {name: sum(bill[name] for bill in bills) for name in first if _is_amount(name, first[name])}
    apis = {name: sum(bill["api_dollars"][name] for bill in bills) for name in first["api_dollars"]}
    return {**first, **summed, "api_dollars": apis}


def _is_amount(name: str, value: object) -> bool:
    return isinstance(value, float) and name != "uncertainty"

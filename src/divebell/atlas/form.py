"""How cells are written, for a table's narrow columns."""

from divebell.atlas.cells import NOT_PUBLISHED, Cell

_COUNTS = ("parameters", "active", "training_tokens", "gpu_hours")


def written(field: str, cell: Cell) -> str:
    """671 B, 14.8 T, 0.28, not published."""
    if cell.value is None:
        return NOT_PUBLISHED
    if isinstance(cell.value, str):
        return cell.value
    return counted(cell.value) if field in _COUNTS else amount(cell.value, field)


def counted(value: float) -> str:
    """671 B, 14.8 T, 2.79 M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:g}"


def amount(value: float, field: str) -> str:
    if field == "carbon":
        return f"{value:,.0f} t"
    if field.startswith("price"):
        return f"{value:.2f}" if round(value, 2) == value else f"{value:.4f}".rstrip("0")
    return f"{value:,.0f}" if field == "context" else f"{value:.1f}"

"""Cells that nobody published and that follow from those that were, each with the formula that it was made by."""

from divebell.atlas.cells import Cell, Model, atlas, source

_V2_HOURS_PER_TRILLION = 172_800  # H800 hours, arXiv 2405.04434 section 3.2.3
_R1_HOURS_MORE = 147_000  # H800 hours on top of V3, from the supplement of DeepSeek-R1 in Nature, second-hand
_ANALOGY = ("llama-3-8b", "llama-3-70b")


def derived(model: Model) -> dict[str, Cell]:
    """By field: gpu_hours where they were published in another form, carbon where hours are known and it is not."""
    found = {}
    if hours := _hours(model):
        found["gpu_hours"] = hours
    hours = hours or model.cells["gpu_hours"]
    if hours.value is not None and model.cells["carbon"].value is None:
        found["carbon"] = _carbon(hours.value)
    return found


def _hours(model: Model) -> Cell | None:
    cells = {other.name: other.cells for other in atlas()}
    if model.name == "deepseek-v2":
        trillions = model.cells["training_tokens"].value / 1e12
        formula = f"{_V2_HOURS_PER_TRILLION:,} H800 hours for 10^12 tokens x {trillions:g}"
        return Cell(_V2_HOURS_PER_TRILLION * trillions, source("v2"), "pre-training", formula)
    if model.name == "deepseek-r1":
        base = cells["deepseek-v3"]["gpu_hours"].value
        formula = f"{base:,.0f} H800 hours of V3 + {_R1_HOURS_MORE:,} of R1"
        return Cell(base + _R1_HOURS_MORE, source("r1-press"), "the second term is second-hand", formula)
    return None


def _carbon(hours: float) -> Cell:
    """By analogy with Llama 3, whose card tells hours and tonnes: other hardware, grid and place; no measurement."""
    cells = [model.cells for model in atlas() if model.name in _ANALOGY]
    tonnes, theirs = (sum(one[field].value for one in cells) for field in ("carbon", "gpu_hours"))
    formula = f"{hours:,.0f} h x {tonnes:,.0f} t / {theirs:,.0f} h of Llama 3"
    note = "an analogy, no measurement: H100 hours in Meta's places against H800 hours elsewhere"
    return Cell(hours * tonnes / theirs, source("llama3-card"), note, formula)

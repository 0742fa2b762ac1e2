"""What an answer took."""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Cost:
    """Of one answered question. seconds: its share of the machine's. joules, grams_co2: None where nothing measures
    them; dollars: None where there is no price."""

    seconds: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    joules: float | None = None
    grams_co2: float | None = None
    dollars: float | None = None


COUNTED = tuple(field.name for field in fields(Cost))

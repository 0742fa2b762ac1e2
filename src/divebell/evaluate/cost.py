"""What an answer took."""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Cost:
    """Of one answered question. seconds: its share of the time in which this and others were answered. None: tokens
    that a server does not tell, joules and grams of CO2 that nothing measures, dollars without a price."""

    seconds: float = 0.0
    prompt_tokens: int | None = 0
    cached_tokens: int | None = 0
    completion_tokens: int | None = 0
    joules: float | None = None
    grams_co2: float | None = None
    dollars: float | None = None


COUNTED = tuple(field.name for field in fields(Cost))

"""What a conversation is held with besides its turns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from divebell.engine.sampling import Sampling
from divebell.serve.limits import Limits


@dataclass(slots=True)
class Settings:
    """system: instructions for the model, "" for none. The others as in `Sampling`; None: as the server does."""

    system: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None

    @classmethod
    def of(cls, stored: Mapping[str, object]) -> "Settings":
        """As stored; what another version knew and this one does not is left out."""
        return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})

    def options(self, limits: Limits) -> dict[str, object]:
        """Those that are set. Raises BadInput for what is out of range, Refusal beyond the server's limits."""
        options = asdict(self)
        del options["system"]
        options |= {
            name: int(options[name]) for name in ("top_k", "max_tokens", "seed") if _whole(options[name])
        }  # a number field of a browser gives 5.0
        options["max_tokens"] = limits.output_tokens(options["max_tokens"], "max_tokens")
        options = {name: value for name, value in options.items() if value is not None}
        Sampling.of(options)
        return options


def _whole(value: float | None) -> bool:
    return value is not None and value == int(value)

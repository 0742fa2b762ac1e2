"""How a model behind a server is asked, and what its tokens cost."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclopts import Parameter

from divebell.errors import BadInput

if TYPE_CHECKING:
    from divebell.costs.prices import Price
    from divebell.evaluate.address import Address
    from divebell.evaluate.endpoint import Endpoint

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_KEY = "OPENAI_API_KEY"


@Parameter(name="*")
@dataclass(frozen=True)
class Asking:
    """How a model behind a server is asked.

    Parameters
    ----------
    key_from
        the environment's variable that holds the server's key; by default OPENAI_API_KEY, if there is one
    price
        dollars for 10^6 tokens read and written, such as 0.27,1.10, or a name of the price list; by default the model's
        name there
    patience
        how long one answer of a server may take, such as 10m
    """

    key_from: str | None = None
    price: str | None = None
    patience: str = "10m"

    def check(self, models: Sequence[str]) -> None:
        """Before the first of them is asked anything. Raises BadInput."""
        from divebell.evaluate.address import address

        places = [address(model) for model in models]
        if any(places):
            _key(self.key_from)
            _price(self.price, "")
            seconds(self.patience, "patience")

    def endpoint(self, place: "Address", chat: bool) -> "Endpoint":
        import asyncio

        from divebell.evaluate.client import Client
        from divebell.evaluate.endpoint import Endpoint, only_model

        options = {"key": _key(self.key_from), "seconds": seconds(self.patience, "patience")}
        model = place.model or asyncio.run(only_model(Client(place.url, **options)))
        return Endpoint(Client(place.url, **options), model, chat, _price(self.price, model))


def _key(variable: str | None) -> str | None:
    key = os.environ.get(variable or _KEY, "").strip()
    if variable and not key:
        raise BadInput(f"key-from is {variable!r}, but the environment has no such variable, or an empty one")
    return key or None


def _price(given: str | None, model: str) -> "Price | None":
    from divebell.costs import prices

    if given is None:
        return next((price for price in prices.prices() if price.model == model), None)
    return prices.stated(given) if "," in given else prices.price(given)


def seconds(time: str, name: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", time.strip())
    if not found or not float(found[1]):
        raise BadInput(f"{name} is {time!r}; give a time such as 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2]]

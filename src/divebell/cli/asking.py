"""How a model behind a server is asked, and what its tokens cost."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from divebell.errors import BadInput

if TYPE_CHECKING:
    from divebell.costs.prices import Price
    from divebell.evaluate.address import Address
    from divebell.evaluate.endpoint import Endpoint

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_KEY = "OPENAI_API_KEY"
_ITS_HOST = "api.openai.com"  # to other hosts it goes only where it is named


@Parameter(name="*")
@dataclass(frozen=True)
class Asking:
    """How a model behind a server is asked.

    Parameters
    ----------
    key_from
        the environment's variable that holds the server's key, or HOST=VARIABLE for one of several servers; by default
        OPENAI_API_KEY for api.openai.com, and none for others
    price
        dollars for 10^6 tokens read and written, such as 0.27,1.10, or a name of the price list, or MODEL=PRICE for one
        of several models; by default the model's name there
    patience
        how long one answer of a server may take, such as 10m
    """

    key_from: Annotated[list[str] | None, Parameter(negative=())] = None
    price: Annotated[list[str] | None, Parameter(negative=())] = None
    patience: str = "10m"

    def check(self, models: Sequence[str]) -> None:
        """Before the first of them is asked anything. Raises BadInput."""
        from divebell.evaluate.address import address

        places = [place for model in models if (place := address(model))]
        if places:
            _check_hosts(self.key_from, {_host(place.url) for place in places})
            for place in places:
                _key(self.key_from, place.url)
            _chosen("price", self.price, "")
            for one in self.price or ():
                _price([one.rpartition("=")[2]], "")
            seconds(self.patience, "patience")

    def endpoint(self, place: "Address", chat: bool) -> "Endpoint":
        import asyncio

        from divebell.evaluate.client import Client
        from divebell.evaluate.endpoint import Endpoint, only_model

        options = {"key": _key(self.key_from, place.url), "seconds": seconds(self.patience, "patience")}
        model = place.model or asyncio.run(only_model(Client(place.url, **options)))
        return Endpoint(Client(place.url, **options), model, chat, _price(self.price, model))


def _key(given: Sequence[str] | None, url: str) -> str | None:
    variable = _chosen("key-from", given, _host(url))
    if variable is None:
        return (os.environ.get(_KEY, "").strip() or None) if _host(url) == _ITS_HOST else None
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key:
        raise BadInput(f"key-from is {variable!r}, but the environment has no such variable, or an empty one")
    return key


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _check_hosts(given: Sequence[str] | None, hosts: set[str]) -> None:
    """A key for a host that is not asked is a slip, and its server would get none."""
    named = [one.rpartition("=")[0] for one in given or () if "=" in one]
    if unknown := [name for name in named if name not in hosts]:
        raise BadInput(f"key-from names {unknown[0]!r}, where no server is; the hosts are {', '.join(sorted(hosts))}")


def _chosen(option: str, given: Sequence[str] | None, name: str) -> str | None:
    """What is given as NAME=VALUE, else the one value that is for all."""
    own = [one.rpartition("=")[2] for one in given or () if one.rpartition("=")[0] == name and "=" in one]
    general = [one for one in given or () if "=" not in one]
    for doubled in (own, general):
        if len(doubled) > 1:
            raise BadInput(f"{option} is given twice, {' and '.join(doubled)}; say which is for which")
    return next(iter([*own, *general]), None)


def _price(values: Sequence[str] | None, model: str) -> "Price | None":
    from divebell.costs import prices

    given = _chosen("price", values, model)
    if given is None:
        return next((price for price in prices.prices() if price.model == model), None)
    return prices.stated(given) if "," in given else prices.price(given)


def seconds(time: str, name: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", time.strip())
    if not found or not float(found[1]):
        raise BadInput(f"{name} is {time!r}; give a time such as 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2]]

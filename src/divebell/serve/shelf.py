"""The folder whose adapters clients may load, and who may."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from divebell.engine.adapters import check_name
from divebell.errors import BadInput, DivebellError
from divebell.serve.keys import Keys
from divebell.serve.refusal import Refusal
from divebell.serve.served import Adapted
from divebell.serve.service import Service
from divebell.weights.adapter import CONFIG, WEIGHTS

CLOSED = "adapters come and go here only with the server; start it with --adapters FOLDER to load and drop them"


class Shelf:
    """One adapter is loaded or dropped at a time, so that one file at most is read beside what the budget covers."""

    def __init__(self, root: Path, keys: Keys, admins: Collection[str] = ()):
        """admins: names of the keys whose owners may load and drop; without keys everybody may. Raises BadInput."""
        self._root, self._lock = root.resolve(), asyncio.Lock()
        self._admins = frozenset(admins) if keys else None
        if not root.is_dir():
            raise BadInput(f"--adapters is {root}, which is not a folder")
        if keys and not admins:
            raise BadInput("--adapters needs --admin NAME where there are keys: whose key may load and drop adapters")
        if unknown := sorted(set(admins) - set(keys.names)):
            raise BadInput(
                f"--admin is {unknown[0]}, which no key is called; there are: {', '.join(keys.names) or 'none'}"
            )

    async def load(self, service: Service, name: str, path: str, model: str | None) -> Adapted:
        """Refuses, in one sentence and without the server's own paths, whatever can't be."""
        try:
            check_name(name)
        except BadInput as problem:
            raise Refusal(400, f"lora_name: {problem}", param="lora_name") from None
        async with self._lock:
            if name in service.offers:
                message = f"there is a model or an adapter {name!r} already; unload it first, or take another name"
                raise Refusal(400, message, param="lora_name")
            folder, base = self._folder(path), _base(service, model)
            try:
                await asyncio.to_thread(service.add_adapter, name, folder, base)
            except DivebellError as problem:
                message = str(problem).replace(str(folder), path)
                raise Refusal(400, f"lora_path: {message}", param="lora_path") from None
            return service.adapted[name]

    async def drop(self, service: Service, name: str) -> None:
        """Refuses a name that no adapter has."""
        async with self._lock:
            if name not in service.adapted:
                known = ", ".join(service.adapted) or "none"
                message = f"there is no adapter {name!r:.200}; loaded: {known}"
                raise Refusal(404, message, param="lora_name", code="model_not_found")
            await asyncio.to_thread(service.drop_adapter, name)

    def check(self, key: str | None) -> None:
        """Refuses a key that is no admin's. key: its name."""
        if self._admins is not None and key not in self._admins:
            raise Refusal(
                403, f"the key of {key} may not load and drop adapters; allow it with --admin", code="no_admin"
            )

    def _folder(self, path: str) -> Path:
        """Links count for what they lead to: the folder's, and its files'."""
        try:
            found = (self._root / path).resolve()
            ends = [found, *((found / file).resolve() for file in (CONFIG, WEIGHTS))]
            inside, there = all(end.is_relative_to(self._root) for end in ends), found.is_dir()
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, a ring of links
            inside = there = False
        if not inside:
            message = f"{path!r:.200} leads out of the folder that was given with --adapters, or nowhere"
            raise Refusal(400, f"lora_path: {message}", param="lora_path")
        if not there:
            raise Refusal(404, f"lora_path: there is no folder {path!r:.200}", param="lora_path", code="no_adapter")
        return found


def _base(service: Service, model: str | None) -> str:
    names = ", ".join(service.models)
    if model is None and len(service.models) > 1:
        message = f"base_model_name: is needed here, as there are several models: {names}"
        raise Refusal(400, message, param="base_model_name")
    if model is not None and model not in service.models:
        message = f"base_model_name: there is no model {model!r:.200}; served here: {names}"
        raise Refusal(404, message, param="base_model_name", code="model_not_found")
    return model or next(iter(service.models))

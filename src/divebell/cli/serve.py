"""divebell serve."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from divebell.cli.options import Loading
from divebell.config import parse_bytes
from divebell.engine.garbage import uncollected


@uncollected()
def serve(
    *models: str,
    adapter: Annotated[list[str] | None, Parameter(negative=())] = None,
    adapters: Path | None = None,
    admin: Annotated[list[str] | None, Parameter(negative=())] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key_file: Path | None = None,
    cors: Annotated[list[str] | None, Parameter(negative=())] = None,
    allow_host: Annotated[list[str] | None, Parameter(negative=())] = None,
    max_body: str = "32MiB",
    max_prompt: int | None = None,
    max_output: int | None = None,
    max_queue: int = 128,
    time_limit: float = 3600,
    grace: float = 30,
    loading: Loading | None = None,
) -> None:
    """Serve models over HTTP, with OpenAI's and Anthropic's protocols.

    Several models share the memory evenly, unless one has a budget of its own: NAME=MODEL@8GiB, where NAME is what
    clients call it; both NAME= and @8GiB may be left out. One JSON line for each request goes to stdout.

    Parameters
    ----------
    models
        catalogue names, folders, .gguf files, or hub ids
    adapter
        NAME=FOLDER: an adapter in peft's format, which clients call NAME; NAME=FOLDER@MODEL where there are several
        models; may be given several times
    adapters
        a folder of adapters that clients may load and drop while the server runs
    admin
        name of a key whose owner may do so; may be given several times
    host
        address to listen on; one that other machines can reach needs an API key
    port
        0 takes a free one
    api_key_file
        keys of those who may ask, one to a line, as name:key; DIVEBELL_API_KEYS holds more, with spaces between
    cors
        origin of web pages that may ask, such as https://example.org; may be given several times
    allow_host
        a name that clients reach this server by, besides its address, localhost and the machine's own; may be given
        several times
    max_body
        size of a request at most
    max_prompt
        tokens of a prompt at most; by default as many as the context holds
    max_output
        tokens of an answer at most; by default as many as the context holds
    max_queue
        answers of one model that wait and run at once
    time_limit
        seconds that a request may take
    grace
        seconds that requests in flight have when the server is told to stop
    """
    from divebell.engine.garbage import keep_all
    from divebell.serve.budgets import adapter as parsed_adapter
    from divebell.serve.budgets import shared
    from divebell.serve.keys import read_keys
    from divebell.serve.limits import Limits
    from divebell.serve.memory import keep_giving_back, share_arenas
    from divebell.serve.server import check_reach, listen, run
    from divebell.serve.service import Service
    from divebell.serve.shelf import Shelf

    limits = Limits(parse_bytes(max_body, "max_body"), max_prompt, max_output, max_queue, time_limit, grace)
    share_arenas()
    keep_giving_back()
    keys = read_keys(api_key_file)
    check_reach(host, keys)
    loading = loading or Loading()
    wanted = shared(models, loading.ram)
    shelf = Shelf(adapters, keys, admin or ()) if adapters else None
    given = [parsed_adapter(one, [each.name for each in wanted]) for one in adapter or ()]
    place = listen(host, port)
    hosts = frozenset(name.lower() for name in ("localhost", socket.gethostname(), host, *(allow_host or ())))
    with Service(keys, limits, hosts, tuple(cors or ())) as service:
        for one in wanted:
            llm = replace(loading, ram=str(one.ram)).load(one.model)
            service.add(one.name, llm)
        for name, folder, model in given:
            service.add_adapter(name, folder, model)
        keep_all()
        run(service, place, shelf)

"""Whole repositories of the Hugging Face hub: safetensors, configuration and tokenizer; never pickles, never code.

They lie in huggingface_hub's own cache, so that other tools share them. A weight file's SHA-256 is the one that the
hub states for it (its LFS object id), checked after the download.
"""

import json
import os
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from re import fullmatch
from urllib.parse import quote

from divebell.errors import BadInput, PullError
from divebell.weights.catalogue import FILES, HubFile
from divebell.weights.download import SourceFailure, open_url
from divebell.weights.store import sha256_of

_SMALL_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "chat_template.json", "LICENSE*",
)  # fmt: skip
_INDEX = "model.safetensors.index.json"
_LISTING_LIMIT = 64 << 20
_SHA256 = 64  # digits; git's ids have 40


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form org/name, or org/name:file.gguf for one file of a repository.

    A name that ends like a file (models/a.gguf) is none: whoever gives it means a path.
    """
    repository, colon, file = name.partition(":")
    if not fullmatch(r"\w[\w.-]*/\w[\w.-]*", repository):
        return False
    return bool(fullmatch(r"\w[\w./-]*\.gguf", file)) if colon else not repository.endswith(FILES)


def file_url(file: HubFile) -> str:
    return f"{_endpoint()}/{file.repository}/resolve/{file.revision}/{quote(file.file)}"


def cached(name: str) -> Path | None:
    """The folder (or .gguf) of a hub id whose files are all in the cache; None when some are not. Asks no server."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = name.partition(":")
    found = try_to_load_from_cache(repository, file or "config.json")
    if not isinstance(found, str):
        return None
    return Path(found) if file else _complete(Path(found).parent)


def _complete(folder: Path) -> Path | None:
    """`folder` if its weights are there: they are fetched last, so everything else is there too."""
    index = folder / _INDEX
    try:
        names = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
        return folder if all((folder / name).exists() for name in names) else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def pull(name: str) -> Path:
    """Fetches what is needed of a repository, or the one .gguf named after a colon; the folder or file to load.

    BadInput when the repository has nothing that divebell reads; PullError when the hub can't be reached or a file's
    SHA-256 is wrong (that file is removed).
    """
    from huggingface_hub import constants

    repository, _, file = name.partition(":")
    if constants.HF_HUB_OFFLINE:
        return _from_cache(name)
    try:
        commit, hashes = _listing(repository)
    except SourceFailure as failure:
        raise PullError(f"{name} could not be fetched: {failure}; check the name and the network") from failure
    _check_readable(name, file, hashes)
    wanted = _shards(file, hashes) if file else _folder_files(repository, commit, hashes)
    paths = [_fetch(repository, one, commit, hashes[one]) for one in wanted]
    _remember_newest(repository, commit)
    return paths[0] if file else paths[0].parent


def _from_cache(name: str) -> Path:
    found = cached(name)
    if found is None:
        raise PullError(f"{name} is not in the cache, and HF_HUB_OFFLINE forbids asking the hub; unset it to pull")
    return found


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _listing(repository: str) -> tuple[str, dict[str, str | None]]:
    """The newest commit of a repository, and of each of its files the SHA-256 where the hub states one."""
    commit, stated = _stated_hashes(repository)
    return commit, {file: found if found and len(found) == _SHA256 else None for file, found in stated.items()}


def _stated_hashes(repository: str, revision: str = "main") -> tuple[str, dict[str, str | None]]:
    """As `listed`; SourceFailure when the hub can't be asked or its answer can't be read."""
    from huggingface_hub import get_token

    token = get_token()
    url = f"{_endpoint()}/api/models/{repository}/revision/{revision}?blobs=true"
    with open_url(url, {"Accept": "application/json"}, f"Bearer {token}" if token else "") as response:
        try:
            listing = json.loads(response.read(_LISTING_LIMIT))
            files = {file["rfilename"]: _stated(file) for file in listing["siblings"]}
            commit = listing["sha"]
            if not fullmatch("[0-9a-f]{40}", commit):
                raise ValueError(f"commit {commit!r}")
            return commit, {file: stated for file, stated in files.items() if ".." not in file and file[:1] != "/"}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise SourceFailure(f"the hub's listing of {repository} can't be read ({fault})") from fault


def listed(repository: str, revision: str) -> tuple[str, dict[str, str | None]]:
    """The commit, and of each of its files what the hub states: the SHA-256, else git's id of the content, else None.

    PullError when the hub can't be asked, or may not be.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise PullError("HF_HUB_OFFLINE forbids asking the hub")
    try:
        return _stated_hashes(repository, revision)
    except SourceFailure as failure:
        raise PullError(str(failure)) from failure


def _stated(file: dict) -> str | None:
    return (file.get("lfs") or {}).get("sha256") or file.get("blobId")


def _check_readable(name: str, file: str, files: dict[str, str | None]) -> None:
    ggufs = sorted(one for one in files if one.endswith(".gguf"))
    if file and file not in files:
        raise BadInput(f"{name}: the repository has no such file; it has {', '.join(ggufs) or 'no .gguf at all'}")
    if file or ("config.json" in files and any(one.endswith(".safetensors") for one in files)):
        return
    advice = f"name one of its GGUF files, as in {name}:{ggufs[0]} ({', '.join(ggufs)})" if ggufs else "choose another"
    raise BadInput(f"{name}: the repository has no config.json with safetensors; {advice}")


def _remember_newest(repository: str, commit: str) -> None:
    """The cache's own note of which snapshot is the newest, from which it is found without asking the hub."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "refs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main").write_text(commit)


def _shards(file: str, files: dict[str, str | None]) -> list[str]:
    """All parts of a GGUF file that is split into NAME-00001-of-00009.gguf and so on; else just the file."""
    split = fullmatch(r"(.*-)\d{5}(-of-\d{5}\.gguf)", file)
    return sorted(one for one in files if fullmatch(f"{split[1]}[0-9]{{5}}{split[2]}", one)) if split else [file]


def _folder_files(repository: str, commit: str, files: dict[str, str | None]) -> list[str]:
    """What a folder needs to load, weights last. Weights in a second form (consolidated.safetensors) stay behind."""
    small = [one for one in files if any(fnmatchcase(one, pattern) for pattern in _SMALL_FILES)]
    if _INDEX not in files:
        return [*small, "model.safetensors"]
    index = _fetch(repository, _INDEX, commit, files[_INDEX])
    try:
        weights = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as fault:
        raise PullError(f"{repository}: {_INDEX} can't be read ({fault})") from fault
    if missing := [one for one in weights if one not in files]:
        raise PullError(f"{repository}: {_INDEX} names files that the repository lacks: {', '.join(missing[:5])}")
    return [*small, *weights]


def _fetch(repository: str, file: str, commit: str, sha256: str | None) -> Path:
    """One file by way of huggingface_hub (cached, continued when interrupted), held against the hub's SHA-256."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        path = Path(hf_hub_download(repository, file, revision=commit, endpoint=_endpoint()))
    except Exception as error:  # the library lets through what its HTTP client raises, of whichever kind
        raise PullError(f"{repository}: {file} could not be fetched: {error}") from error
    if sha256 and (found := sha256_of(path)) != sha256:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise PullError(f"{repository}: {file} has SHA-256 {found}, not {sha256} as the hub states; it was removed")
    return path

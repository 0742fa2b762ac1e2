"""A model's files, opened: configuration and named tensors, whichever way they are stored."""

from collections.abc import Mapping
from pathlib import Path

from divebell.errors import BadFile, BadInput
from divebell.weights import gguf, safetensors
from divebell.weights.mapped import brief, map_file
from divebell.weights.strict_json import read_object
from divebell.weights.tensor import Tensor

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
OTHER_FILES = {
    b"PK\x03\x04": "a zip archive, probably a pickle of PyTorch; pickles can run code and are never opened",
    b"\x80": "a pickle, which can run code and is never opened",
    **dict.fromkeys((b"lmgg", b"fmgg", b"tjgg", b"algg"), "an old GGML file, from before GGUF; convert it to GGUF"),
}
CONVERT = "save the model as safetensors (transformers: save_pretrained), or take a GGUF file of it"


class Checkpoint:
    """A model's files with nothing of the weights read yet.

    kind: "safetensors" or "gguf". files: those that hold weights. architecture: Hugging Face's `model_type`, or GGUF's
    `general.architecture`. config: the fields of config.json, or GGUF's metadata. tensors: stored name -> Tensor, views
    of the mapped files.
    """

    def __init__(self, path: Path, kind: str, files: list[Path], config: dict, tensors: Mapping[str, Tensor]):
        self.path, self.kind, self.files = path, kind, files
        self.config, self.tensors = config, tensors
        self._compared: dict[tuple[str, str], bool] = {}
        self.architecture = self._architecture("model_type" if kind == "safetensors" else "general.architecture")

    @property
    def file_sizes(self) -> dict[Path, int]:
        """Bytes of each file that holds weights."""
        return {file: file.stat().st_size for file in self.files}

    def same(self, first: str, second: str) -> bool:
        """Whether two tensors are stored as the same bytes, which are read once."""
        if (first, second) not in self._compared:
            self._compared[first, second] = self.tensors[first].same(self.tensors[second])
        return self._compared[first, second]

    def close(self) -> None:
        """Lets go of the files; they are unmapped when the last tensor that was taken from them is gone."""
        self.tensors = {}

    def _architecture(self, field: str) -> str:
        name = self.config.get(field)
        if not isinstance(name, str) or not name:
            place = self.path / "config.json" if self.kind == "safetensors" else self.path
            raise BadFile(place, field, "must name the architecture, but is missing or no text")
        return name


def open_checkpoint(path: "Path | str") -> Checkpoint:
    """A folder with config.json and *.safetensors, a .gguf file, or the first of a split one.

    Raises BadInput for a path that is neither, BadFile for a file that breaks its format (naming it and the field),
    Unsupported for a version or number format that is not known.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _open_folder(path)
        if path.is_file():
            return _open_file(path)
    except (OSError, ValueError) as problem:
        raise BadInput(f"{path} can't be opened: {getattr(problem, 'strerror', None) or problem}") from None
    raise BadInput(f"{path} is neither a folder nor a file; give a folder with config.json, or a .gguf file")


def _open_folder(folder: Path) -> Checkpoint:
    if not (folder / "config.json").is_file():
        raise BadFile(folder, "config.json", _without_config(folder))
    config = read_object(folder / "config.json", "config")
    if not (folder / SINGLE).is_file() and (folder / INDEX).is_file():
        files, entries = safetensors.read_index(folder / INDEX)
    else:
        files = [_only_file(folder)]
        entries = safetensors.read_file(files[0])
    return Checkpoint(folder, "safetensors", files, config, safetensors.Tensors(entries))


def _without_config(folder: Path) -> str:
    ggufs = sorted(folder.glob("*.gguf"))
    return f"missing; to load a GGUF file, give its own path, such as {ggufs[0]}" if ggufs else "missing"


def _only_file(folder: Path) -> Path:
    if (folder / SINGLE).is_file():
        return folder / SINGLE
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        raise BadFile(folder, INDEX, f"missing; without it the {len(found)} .safetensors files can't be put together")
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        raise BadFile(folder, SINGLE, f"missing; pickled weights can run code and are never opened: {CONVERT}")
    raise BadFile(folder, SINGLE, f"missing, and there is no {INDEX} either")


def _open_file(path: Path) -> Checkpoint:
    start = map_file(path)[:4]
    if start == gguf.MAGIC:
        files, metadata, tensors = gguf.read_split(path)
        return Checkpoint(path, "gguf", files, metadata, tensors)
    if path.suffix == ".safetensors":
        raise BadInput(f"{path} is weights alone; give its folder, which holds config.json too")
    other = next((what for magic, what in OTHER_FILES.items() if start.startswith(magic)), None)
    unknown = f"{brief(start)} is not that of a GGUF file; give a .gguf file, or a folder with config.json"
    raise BadFile(path, "magic", f"is {other}" if other else unknown)

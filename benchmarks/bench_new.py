"""A small model of experts and latent attention against a dense one of the same active size, both from nothing.

Texts: the Debian Administrator's Handbook in several languages, as Debian's package debian-handbook installs it. Of
every language the same pages are held out. Both models have the same attention, tokenizer, order of rows and number of
tokens; in the dense one an MLP is as wide as the experts together that a token goes through.
"""

import argparse
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

from divebell.tune.model import use_threads
from divebell.tune.run import Run
from divebell.tune.settings import Settings

HANDBOOK = Path("/usr/share/doc/debian-handbook/html")
LANGUAGES = ("en-US", "fr-FR", "de-DE", "es-ES", "pt-BR", "ru-RU")
HELD_OUT = 7, 40  # the seventh of so many pages: three, on migration, on quality of service, and on a derivative
ACTIVE, WIDTH = 3, 128  # experts of a token, the shared one among them, and neurons of each
SHAPE = {
    "model_type": "deepseek_v3",
    "architectures": ["DeepseekV3ForCausalLM"],
    "vocab_size": 4096,
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "q_lora_rank": None,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "num_nextn_predict_layers": 0,
    "intermediate_size": ACTIVE * WIDTH,
    "moe_intermediate_size": WIDTH,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "num_experts_per_tok": ACTIVE - 1,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "scoring_func": "sigmoid",
}
KINDS = {"experts": {"first_k_dense_replace": 1}, "dense": {"first_k_dense_replace": SHAPE["num_hidden_layers"]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handbook", type=Path, default=HANDBOOK, help="folder with one folder for each language")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--plot", type=Path, help="a .png of the losses")
    options = parser.parse_args()
    if missing := [name for name in LANGUAGES if not (options.handbook / name).is_dir()]:
        parser.error(f"{options.handbook} has no {missing[0]}; on Debian: sudo apt-get install debian-handbook")
    use_threads(1)
    with TemporaryDirectory() as folder:
        files = texts(options.handbook, Path(folder))
        curves = {kind: list(trained(kind, files, Path(folder), options.steps)) for kind in KINDS}
    for kind, rows in curves.items():
        seconds, tokens = (sum(row[name] for row in rows) for name in ("seconds", "tokens"))
        print(f"{kind}: {tokens:,} tokens, {seconds:.0f} s")
        for row in (row for row in rows if "held_out" in row):
            print(f"  step {row['step']:4}: held out {row['held_out']:.3f}")
    if options.plot:
        draw(curves, options.plot)


def texts(handbook: Path, folder: Path) -> tuple[Path, Path]:
    """Rows to learn and rows held out: one a page."""
    names = sorted({page.name for page in (handbook / LANGUAGES[0]).glob("*.html")})
    learned, held_out = folder / "learned.jsonl", folder / "held_out.jsonl"
    seventh, count = HELD_OUT
    for path, wanted in ((learned, False), (held_out, True)):
        chosen = [name for i, name in enumerate(names) if (i % count == seventh) is wanted]
        pages = [handbook / language / name for name in chosen for language in LANGUAGES]
        rows = (json.dumps({"text": text}) for page in pages if page.exists() and (text := read(page)))
        path.write_text("".join(f"{row}\n" for row in rows))
    return learned, held_out


def read(page: Path) -> str:
    reader = Prose()
    reader.feed(page.read_text())
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[ \t\xa0]+", " ", "".join(reader.pieces))).strip()


class Prose(HTMLParser):
    """What a page says, without what leads to other pages."""

    ENDS = frozenset({"p", "li", "h1", "h2", "h3", "h4", "pre", "dt", "dd", "div", "tr"})
    LEFT_OUT = frozenset({"head", "script", "docnav", "toc", "banner", "title"})  # tags, classes and ids

    def __init__(self):
        super().__init__()
        self.pieces: list[str] = []
        self.within: list[str] = []  # what is left out, and elements of its name inside it

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        about = {name: value or "" for name, value in attributes}
        named = {tag, about.get("id"), *about.get("class", "").split()}
        if tag in self.within or (not self.within and named & self.LEFT_OUT and named.isdisjoint({"h1", "h2", "h3"})):
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.within and tag == self.within[-1]:
            self.within.pop()
        elif tag in self.ENDS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.within:
            self.pieces.append(data)


def trained(kind: str, files: tuple[Path, Path], folder: Path, steps: int) -> Iterator[dict]:
    """What is recorded of the steps."""
    config = folder / f"{kind}.json"
    config.write_text(json.dumps(SHAPE | KINDS[kind]))
    settings = Settings(steps=steps, batch=16, pack=2048, context=256, rate=3e-3, held_out=files[1])
    return Run("new", str(config), files[0], settings).train(folder / kind)


def draw(curves: dict[str, list[dict]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for kind, rows in curves.items():
        points = [(row["step"], row["held_out"]) for row in rows if "held_out" in row]
        axes.plot(*zip(*points, strict=True), marker=".", label=kind)
    axes.set(xlabel="step", ylabel="loss on held-out pages, nats a token")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()

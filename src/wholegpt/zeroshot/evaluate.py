"""`wholegpt evaluate` and `wholegpt score`: tasks with files that can be checked, and any text of one's own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from wholegpt import documents
from wholegpt.artifact import Artifact, write_json
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.inference.scoring import text_logprob
from wholegpt.model import checkpoint
from wholegpt.progress import bar, say
from wholegpt.zeroshot import heldout
from wholegpt.zeroshot.metrics import NOTHING, Likelihood

TASKS = {"heldout": heldout}


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a model without training it for the task (section 3)."""

    model: tyro.conf.Positional[Path]
    """A run, a checkpoint of any format, or released weights: gpt2, gpt2-medium, gpt2-large, gpt2-xl."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory for one JSON file a task."""
    tasks: str = "heldout"
    """Names separated by commas; heldout is the part of its corpus that a run was not trained on."""
    shards: Path | None = None
    """For heldout: the run's shards, if they are not where they were."""
    tokenizer: str = ""
    """A directory with a tokenizer, where the checkpoint has none beside it."""
    device: str = "auto"
    """cpu, cuda, ..."""
    overwrite: bool = False
    """Replace results made otherwise."""

    def __post_init__(self) -> None:
        for name in self.tasks.split(","):
            if name not in TASKS:
                raise UsageError(f"task {name} is unknown; there is {', '.join(TASKS)}")


@dataclass(frozen=True)
class ScoreOptions:
    """Print how well a model predicts a text: perplexity per token and word, bits per byte (section 3.1)."""

    model: tyro.conf.Positional[Path]
    """A run, a checkpoint of any format, or released weights: gpt2, gpt2-medium, gpt2-large, gpt2-xl."""
    text: tyro.conf.Positional[str] = "-"
    """A file or folder of .txt, .jsonl(.gz/.zst), .parquet; - is standard input."""
    tokenizer: str = ""
    """A directory with a tokenizer, where the checkpoint has none beside it."""
    device: str = "auto"
    """cpu, cuda, ..."""
    json: bool = False
    """Print JSON."""


def evaluate(options: EvaluateOptions) -> Artifact:
    """Write `TASK.json` for each task, in the shape of lm-evaluation-harness, and print the figures."""
    shards = options.shards or heldout.shards_of(checkpoint.find(options.model))
    artifact = Artifact(
        options.output, "evaluate", options, [checkpoint.find(options.model), shards], options.overwrite
    )
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    model, tokenizer = checkpoint.load_with_tokenizer(options.model, options.device, tokenizer=options.tokenizer)
    with artifact.write() as folder:
        for name in options.tasks.split(","):
            task = TASKS[name]
            figures = task.evaluate(model, tokenizer, shards)
            keyed = {f"{key},none": value for key, value in figures.items() if isinstance(value, float)}
            write_json(
                folder / f"{name}.json",
                {
                    "results": {name: keyed},
                    "versions": {name: task.VERSION},
                    "n-samples": {name: figures["documents"]},
                    **{key: value for key, value in figures.items() if not isinstance(value, float)},
                },
            )
            _print(name, {**figures, **figures["baselines"]})
            artifact.counts[name] = keyed
    return artifact


def score(options: ScoreOptions) -> None:
    """Print the figures of a text; each document is read by itself."""
    model, tokenizer = checkpoint.load_with_tokenizer(options.model, options.device, tokenizer=options.tokenizer)
    total = NOTHING
    with bar("scoring", None, "documents") as progress:
        for document in [documents.standard_input()] if options.text == "-" else documents.read(Path(options.text)):
            ids = tokenizer.encode_ordinary(document.text)
            size = (len(ids), len(document.text.split()), len(document.text.encode()))
            total += Likelihood(-text_logprob(model, tokenizer, ids), *size)
            progress.advance()
    if not total.bytes:
        raise WholeGPTError("there is no text to score: standard input is empty")
    figures = {**total.figures(), "tokens": total.tokens, "words": total.words, "bytes": total.bytes}
    if options.json:
        print(json.dumps(figures))
    else:
        _print(options.text, figures)


def _print(title: str, figures: dict[str, Any]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in figures.items():
        if isinstance(value, float | int):
            table.add_row(name.replace("_", " "), f"{value:,}")
    Console().print(table)

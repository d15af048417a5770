"""`wholegpt demo`: the whole path as one script, from raw text to a trained, evaluated model and a report.

Each stage is a verb of its own and writes one directory; a stage that is there is not made again.

    text ─► corpus ─► tokenizer ─► shards ─► run ─► results, samples ─► report
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from wholegpt.cli import parse
from wholegpt.corpus.build import BuildOptions
from wholegpt.corpus.build import build as build_corpus
from wholegpt.inference.generate import GenerateOptions, generate
from wholegpt.progress import say
from wholegpt.report.page import ReportOptions, report
from wholegpt.tokenizer.train import TokenizerTrainOptions
from wholegpt.tokenizer.train import train as train_tokenizer
from wholegpt.training.loop import TrainOptions, train
from wholegpt.training.shards import ShardsOptions
from wholegpt.training.shards import build as build_shards
from wholegpt.zeroshot.evaluate import EvaluateOptions, evaluate

BUILT_IN = ("builtin:kjv", "builtin:python")
PROMPTS = ("", "", "In the beginning", "And the king said unto", "The following example shows", "He went out")


@dataclass(frozen=True)
class DemoOptions:
    """Text to tokenizer to a trained, evaluated GPT-2 to a report: about six minutes on two cores."""

    text: tuple[str, ...] = BUILT_IN
    """Your own .txt, .jsonl(.gz/.zst), .parquet files; the default is the King James Bible and Python's reference."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo")
    """Directory to write; what is there already is used again."""
    recipe: str = "demo"
    """Recipe of the training."""
    vocab_size: int = 4096
    """Entries of the tokenizer."""
    steps: int = 0
    """Training steps; 0: as many as the recipe says."""
    seed: int = 0
    """Decides the held-out part, the initial weights, the order of the data and the samples."""


def demo(options: DemoOptions) -> None:
    """Run every stage that is missing and print the path of the report."""
    folder = options.output
    corpus, tokenizer, shards, run = (folder / name for name in ("corpus", "tokenizer", "shards", "run"))
    results, samples, page = folder / "results", folder / "samples", folder / "report"

    say("1/7 documents, 5 % held out")
    build_corpus(BuildOptions(options.text, corpus, seed=options.seed, overwrite=True))
    say("2/7 tokenizer")
    train_tokenizer(TokenizerTrainOptions(corpus, tokenizer, options.vocab_size, overwrite=True))
    say("3/7 token shards")
    build_shards(ShardsOptions(corpus, shards, str(tokenizer), overwrite=True))
    say("4/7 training")
    train(_training(options, shards, run))
    say("5/7 evaluation on the held-out part")
    evaluate(EvaluateOptions(str(run), results, overwrite=True))
    say("6/7 samples")
    generate(GenerateOptions(run, PROMPTS, samples, seed=options.seed, overwrite=True))
    say("7/7 report")
    report(ReportOptions((corpus, tokenizer, shards, run, results, samples), page, overwrite=True))
    print(page / "index.html")


def _training(options: DemoOptions, shards: Path, run: Path) -> TrainOptions:
    recipe: TrainOptions = parse(TrainOptions, "train", [str(shards), "-o", str(run), "--recipe", options.recipe])
    return replace(recipe, steps=options.steps or recipe.steps, seed=options.seed, overwrite=True)

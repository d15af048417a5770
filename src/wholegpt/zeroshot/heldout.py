"""A run on its own corpus (figure 4): `heldout`, the part it was not trained on, and `train-sample`, as much of the
part it was trained on; both falling together with size is the paper's evidence that its models underfit.

Unstated in the paper: how windows are laid, and how large the sample is. Each document is read by itself,
`<|endoftext|>` before it, in disjoint windows; the sample has as many tokens as the held-out part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholegpt.artifact import MANIFEST, fingerprint, read_manifest
from wholegpt.documents import TRAIN
from wholegpt.errors import WholeGPTError
from wholegpt.inference.requests import Scored
from wholegpt.inference.scoring import windows
from wholegpt.training.shard_files import VAL
from wholegpt.training.tokens import Tokens, tokenizer_of
from wholegpt.zeroshot import baselines
from wholegpt.zeroshot.metrics import bits_figure, perplexity_figure
from wholegpt.zeroshot.task import Data, Figure, Row, Sample, Setting, Task

# Draws in a row that give no new document end a sample: the training part is used up.
FRUITLESS_DRAWS = 1_000
# A document is looked for in pieces of so many tokens.
PIECE_TOKENS = 4_096

Ids = NDArray[np.uint32]


def shards_of(model_path: Path) -> Path:
    """The shards that a run was trained on: where its manifest says, or beside the run if all was moved together."""
    recorded = read_manifest(model_path)["inputs"]
    for name, expected in recorded.items():
        for path in (Path(name), model_path.parent / Path(name).name):
            if path.exists() and fingerprint(path) == expected:
                return path
    raise WholeGPTError(f"the shards that {model_path} was trained on ({', '.join(recorded)}) are gone; give --shards")


def held_out(setting: Setting) -> Data:
    """The documents of the held-out part, as ids."""
    shards = _shards(setting)
    documents = Tokens(shards, VAL, setting.tokenizer.vocab_size).documents(setting.tokenizer.eot)
    return Data([np.array(ids, np.uint32) for ids in documents], (str(shards),), (shards,))


def train_sample(setting: Setting) -> Data:
    """Documents of the training part, drawn by the seed, until they have as many tokens as the held-out part.

    A draw takes the document after a random place, so that long documents are not preferred; of the last one it takes
    only what is still wanted.
    """
    shards, tokenizer = _shards(setting), setting.tokenizer
    wanted = len(Tokens(shards, VAL, tokenizer.vocab_size))
    tokens = Tokens(shards, TRAIN, tokenizer.vocab_size)
    generator = np.random.default_rng(setting.seed)
    found: dict[int, Ids] = {}
    size = fruitless = 0
    while size < wanted and fruitless < FRUITLESS_DRAWS:
        start = _next_end(tokens, int(generator.integers(len(tokens))), tokenizer.eot) % len(tokens)
        start += int(tokens.read(start, 1)[0] == tokenizer.eot)
        end = min(_next_end(tokens, start, tokenizer.eot), start + max(1, wanted - size - 1))
        fruitless += 1
        if start not in found and end > start:
            found[start] = tokens.read(start, end - start).astype(np.uint32)
            size, fruitless = size + end - start + 1, 0
    return Data(list(found.values()), (str(shards),), (shards,))


def _next_end(tokens: Tokens, start: int, eot: int) -> int:
    """The first place from `start` on that holds `<|endoftext|>`, or the end."""
    for place in range(start, len(tokens), PIECE_TOKENS):
        marks = np.flatnonzero(tokens.read(place, min(PIECE_TOKENS, len(tokens) - place)) == eot)
        if len(marks):
            return place + int(marks[0])
    return len(tokens)


def _shards(setting: Setting) -> Path:
    """The shards to read; WholeGPTError where they were made with another tokenizer: their ids would stand for other
    text."""
    model = setting.model or Path()
    if not setting.shards and not (model / MANIFEST).is_file():
        raise WholeGPTError("needs a run that wholegpt trained, or --shards")
    shards = setting.shards or shards_of(model)
    theirs, ours = tokenizer_of(shards), setting.tokenizer
    if (theirs.vocabulary, theirs.merges, theirs.pattern) != (ours.vocabulary, ours.merges, ours.pattern):
        raise WholeGPTError(
            f"{shards} was made with another tokenizer ({theirs.vocab_size} entries) than the model's "
            f"({ours.vocab_size}); make shards of the same text with it: wholegpt shards TEXT --tokenizer MODEL"
        )
    return shards


@dataclass(frozen=True)
class Documents:
    """A sample for each document; its windows are its requests."""

    examples: Sequence[Ids]
    setting: Setting

    def __iter__(self) -> Iterator[Sample]:
        tokenizer = self.setting.tokenizer
        for number, ids in enumerate(example.tolist() for example in self.examples):
            data = tokenizer.decode_bytes(ids)
            text = data.decode("utf-8", "replace")
            notes = {"words": len(text.split()), "bytes": len(data)}
            yield Sample(number, "", text, tuple(windows(ids, tokenizer.eot, self.setting.window)), notes)


def row(sample: Sample, answers: Sequence[Scored], _setting: Setting) -> Row:
    """The nats of a document, and every token's log-probability."""
    logprobs = [logprob for answer in answers for logprob in answer.logprobs]
    rounded = [round(logprob, 6) for logprob in logprobs]
    return {**sample.notes, "tokens": len(logprobs), "nats": -sum(logprobs), "logprobs": rounded}


def figures(_setting: Setting) -> dict[str, Figure]:
    return {
        "bits_per_byte,none": bits_figure(),
        "word_perplexity,none": perplexity_figure("words"),
        "token_perplexity,none": perplexity_figure("tokens"),
    }


def beside(data: Data, rows: Sequence[Row], setting: Setting) -> dict[str, Any]:
    """Sizes, and what predictors without a model need on the same text."""
    tokenizer = setting.tokenizer
    sizes = {key: sum(row[key] for row in rows) for key in ("tokens", "words", "bytes")}
    train = Tokens(_shards(setting), TRAIN, tokenizer.vocab_size).counts(tokenizer.vocab_size)
    ids = np.concatenate(data.examples)
    tested = np.bincount(ids, minlength=tokenizer.vocab_size)
    trivial = baselines.predictors(train, tested, tokenizer.eot, sizes["bytes"])
    compressed = baselines.compressors(tokenizer.decode_bytes(ids.tolist()))
    return {"documents": len(rows), **sizes, "baselines": {**trivial, **compressed}}


def _task(name: str, protocol: str, read: Any) -> Task:
    return Task(name, 2, protocol, read, Documents, row, figures, beside=beside)


TASKS = (
    _task("heldout", "each document by itself, disjoint windows", held_out),
    _task("train-sample", "documents drawn from the training part, as many tokens as held out", train_sample),
)

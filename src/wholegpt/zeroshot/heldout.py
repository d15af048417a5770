"""The task `heldout`: how well a run predicts the part of its own corpus that it was not trained on (figure 4).

Unstated in the paper: how windows are laid. Each document is read by itself, `<|endoftext|>` before it, in disjoint
windows, as in `inference.scoring.text_logprob`.
"""

from pathlib import Path
from typing import Any

from wholegpt.artifact import fingerprint, read_manifest
from wholegpt.documents import TRAIN
from wholegpt.errors import WholeGPTError
from wholegpt.inference.scoring import text_logprob
from wholegpt.model.gpt import GPT
from wholegpt.progress import bar
from wholegpt.tokenizer import Tokenizer
from wholegpt.training.shard_files import VAL
from wholegpt.training.tokens import Tokens, tokenizer_of
from wholegpt.zeroshot import baselines
from wholegpt.zeroshot.metrics import NOTHING, Likelihood

VERSION = 1


def shards_of(model_path: Path) -> Path:
    """The shards that a run was trained on: where its manifest says, or beside the run if all was moved together."""
    recorded = read_manifest(model_path)["inputs"]
    for name, expected in recorded.items():
        for path in (Path(name), model_path.parent / Path(name).name):
            if path.exists() and fingerprint(path) == expected:
                return path
    raise WholeGPTError(f"the shards that {model_path} was trained on ({', '.join(recorded)}) are gone; give --shards")


def evaluate(model: GPT, tokenizer: Tokenizer, shards: Path) -> dict[str, Any]:
    """Perplexity per token and word, bits per byte, and the trivial baselines on the same text.

    WholeGPTError where the shards were made with another tokenizer: their ids would stand for other text.
    """
    _check_tokenizer(tokenizer, shards)
    val = Tokens(shards, VAL, tokenizer.vocab_size)
    total = NOTHING
    documents = 0
    texts: list[bytes] = []
    with bar("held-out text", len(val), "tokens") as progress:
        for ids in val.documents(tokenizer.eot):
            text = tokenizer.decode_bytes(ids)
            nats = -text_logprob(model, tokenizer, ids)
            total += Likelihood(nats, len(ids), len(text.decode("utf-8", "replace").split()), len(text))
            texts.append(text)
            documents += 1
            progress.advance(len(ids) + 1)
    counts = {name: Tokens(shards, name, tokenizer.vocab_size).counts(tokenizer.vocab_size) for name in (TRAIN, VAL)}
    trivial = baselines.predictors(counts[TRAIN], counts[VAL], tokenizer.eot, total.bytes)
    return {
        **total.figures(),
        "documents": documents,
        "tokens": total.tokens,
        "words": total.words,
        "bytes": total.bytes,
        "baselines": {**trivial, **baselines.compressors(b"".join(texts))},
    }


def _check_tokenizer(tokenizer: Tokenizer, shards: Path) -> None:
    theirs = tokenizer_of(shards)
    if (theirs.vocabulary, theirs.merges, theirs.pattern) != (
        tokenizer.vocabulary,
        tokenizer.merges,
        tokenizer.pattern,
    ):
        raise WholeGPTError(
            f"{shards} was made with another tokenizer ({theirs.vocab_size} entries) than the model's "
            f"({tokenizer.vocab_size}); make shards of the same text with it: wholegpt shards TEXT --tokenizer MODEL"
        )

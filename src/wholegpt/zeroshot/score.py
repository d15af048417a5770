"""`wholegpt score`: how well a model predicts a text of one's own, or continuations of contexts (section 3.1)."""

import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from wholegpt import documents
from wholegpt.documents import CONTINUATION, Document
from wholegpt.errors import WholeGPTError
from wholegpt.inference.requests import Window
from wholegpt.inference.scoring import split_ids, windows, windows_loglikelihoods
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT
from wholegpt.progress import bar
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot.metrics import NOTHING, Likelihood


@dataclass(frozen=True)
class ScoreOptions:
    """Print how well a model predicts a text: nats, perplexity per token and word, bits per byte (section 3.1)."""

    model: tyro.conf.Positional[Path]
    """A run, a checkpoint of any format, or released weights: gpt2, gpt2-medium, gpt2-large, gpt2-xl."""
    text: tyro.conf.Positional[str] = "-"
    """A file or folder of .txt, .jsonl(.gz/.zst) with `text`, or `context` and `continuation`, .parquet; - is
    standard input, jsonl if its first line is an object."""
    per_document: bool = False
    """Print the figures of each document before those of all."""
    per_token: bool = False
    """The same, and every token with its probability."""
    tokenizer: str = ""
    """A directory with a tokenizer, where the checkpoint has none beside it."""
    batch_tokens: int = 0
    """Tokens that the model holds at once; 0: by the free memory."""
    device: str = "auto"
    """cpu, cuda, ..."""
    dtype: str = "float32"
    """float32, bfloat16, float16; auto: bfloat16 on a GPU."""
    json: bool = False
    """Print JSON, a line for each document that is printed and one for all."""


@dataclass(frozen=True)
class _Text:
    """A document, ready to be scored."""

    id: str
    ids: list[int]
    windows: list[Window]
    words: int
    bytes: int


def score(options: ScoreOptions) -> None:
    """Print the figures of a text; each document is read by itself, and few are in memory at once."""
    model, tokenizer = checkpoint.load_with_tokenizer(options.model, options.device, options.dtype, options.tokenizer)
    total = NOTHING
    texts = (_text(document, model.config.n_ctx, tokenizer) for document in _documents(options.text))
    with bar("scoring", None, "documents") as progress:
        for text, logprobs in _scored(texts, model, options.batch_tokens or None):
            likelihood = Likelihood(-sum(logprobs), len(logprobs), text.words, text.bytes)
            total += likelihood
            if options.per_document or options.per_token:
                tokens = _tokens(text, logprobs, tokenizer) if options.per_token else []
                _print({"id": text.id, **_figures(likelihood)}, tokens, options.json)
            progress.advance()
    if not total.bytes:
        raise WholeGPTError("there is no text to score: standard input is empty")
    _print(_figures(total), [], options.json)


def _documents(text: str) -> Iterator[Document]:
    return documents.standard_input_documents() if text == "-" else documents.read(Path(text))


def _text(document: Document, window: int, tokenizer: Tokenizer) -> _Text:
    """The windows of a text, or the one of a continuation, whose context is cut on the left."""
    size = len(document.text.split()), len(document.text.encode())
    context = document.metadata.get("context", "")
    if CONTINUATION not in document.metadata:
        ids = tokenizer.encode_ordinary(document.text)
        return _Text(document.id, ids, list(windows(ids, tokenizer.eot, window)), *size)
    if not isinstance(context, str):
        raise WholeGPTError(f"{document.id}: found {type(context).__name__} as `context`, expected a string")
    before, ids = split_ids(tokenizer, context, document.text)
    if not 0 < len(ids) <= window:
        raise WholeGPTError(f"{document.id}: the continuation has {len(ids)} tokens, expected 1 to {window}")
    return _Text(document.id, ids, [Window((*before[-(window + 1 - len(ids)) :], *ids), len(ids))], *size)


def _scored(texts: Iterator[_Text], model: GPT, batch_tokens: int | None) -> Iterator[tuple[_Text, list[float]]]:
    """Each text with the log-probabilities of its tokens; windows of neighbours share batches."""
    waiting: deque[_Text] = deque()

    def asked() -> Iterator[Window]:
        for text in texts:
            waiting.append(text)
            yield from text.windows

    logprobs: list[float] = []
    for scored in windows_loglikelihoods(model, asked(), batch_tokens):
        while not waiting[0].windows:  # a document without tokens
            yield waiting.popleft(), []
        logprobs += scored.logprobs
        if len(logprobs) == len(waiting[0].ids):
            yield waiting.popleft(), logprobs
            logprobs = []
    for text in waiting:
        yield text, []


def _tokens(text: _Text, logprobs: list[float], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    shown = [tokenizer.token_bytes(index).decode("utf-8", "backslashreplace") for index in text.ids]
    return [
        {"token": token, "id": index, "logprob": logprob}
        for token, index, logprob in zip(shown, text.ids, logprobs, strict=True)
    ]


def _figures(likelihood: Likelihood) -> dict[str, Any]:
    sizes = {"tokens": likelihood.tokens, "words": likelihood.words, "bytes": likelihood.bytes}
    figures = {name: value if math.isfinite(value) else None for name, value in likelihood.figures().items()}
    return {**figures, **sizes}


def _print(figures: dict[str, Any], tokens: list[dict[str, Any]], as_json: bool) -> None:
    """A line of JSON, or lines of names and values after those of the tokens."""
    if as_json:
        print(json.dumps({**figures, **({"tokens_scored": tokens} if tokens else {})}, ensure_ascii=False))
        return
    for token in tokens:
        print(f"{math.exp(token['logprob']):8.4f}  {token['logprob']:9.4f}  {token['token']!r}")
    for name, value in figures.items():
        written = f"{value:,}" if isinstance(value, int | float) else value or "infinite"
        print(f"{name.replace('_', ' '):<18}{written}")

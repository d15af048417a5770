"""Language modelling (section 3.1): wikitext2, wikitext103, ptb, lm1b, enwik8, text8.

A set is read as one stream of tokens in windows as long as the model allows, or document by document, natural and as
published: "invertible de-tokenizers which remove as many of these tokenization / pre-processing artifacts as possible".
The denominator is always that of the published text: its words, line ends counted as the literature counts them, or
its bytes. Each window is a sample; the words and bytes of a line belong to the window in which the line ends.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholegpt import paper
from wholegpt.errors import UsageError
from wholegpt.inference.requests import Scored, Window
from wholegpt.inference.scoring import windows
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot import megatron
from wholegpt.zeroshot.detokenize import STYLES, detokenize
from wholegpt.zeroshot.metrics import bits_figure, perplexity_figure
from wholegpt.zeroshot.task import Data, Figure, Option, Row, Sample, Setting, Task, evalset, part_option

DETOKENIZED, MEGATRON, AS_IS = "detokenized", "megatron", "as-is"
STREAM, DOCUMENTS = "stream", "documents"
GROUPS = ("lm", "table3")
# enwik8 and text8 have no lines: --limit counts pieces of so many bytes.
PIECE_BYTES = 1_000

# The set's tokenization, and the name of Megatron's rules for it ("" for none).
_SETS = {
    "wikitext2": ("wikitext", "wikitext", "WikiText-2"),
    "wikitext103": ("wikitext", "wikitext", "WikiText-103"),
    "ptb": ("ptb", "ptb", "PTB"),
    "lm1b": ("lm1b", "", "1BW"),
}
_LINE_ENDS = Option(
    "counted",
    "Unstated in the paper: whether a line end is a word; so it is in the counts of the literature",
    ("counted", "not-counted"),
)
_READING = {
    "reading": Option(
        STREAM,
        "Unstated in the paper: all in one stream, or each document (article, sentence) by itself",
        (STREAM, DOCUMENTS),
    ),
    "stride": Option(
        0,
        "Unstated in the paper: 0 for disjoint windows; n: each predicts n tokens after as many others as it can read",
    ),
    "first_token": Option(
        "predicted",
        "Unstated in the paper: whether the first token, which has only <|endoftext|> before it, counts",
        ("predicted", "left-out"),
    ),
}


@dataclass(frozen=True)
class Line:
    """A piece of a document: what the model reads, and the size of what was published."""

    text: bytes
    words: int
    bytes: int


@dataclass(frozen=True)
class Stream:
    """Ids that are read as one text, and the published words and bytes that end in each of them."""

    variant: str
    ids: list[int]
    words: NDArray[np.int64]
    bytes: NDArray[np.int64]

    @classmethod
    def of(cls, variant: str, lines: list[Line], tokenizer: Tokenizer) -> "Stream":
        ids = tokenizer.encode_documents([b"".join(line.text for line in lines)])[1:]
        lengths = np.array([len(token) for token in tokenizer.vocabulary])[ids]
        ends = np.searchsorted(np.cumsum(lengths), np.cumsum([len(line.text) for line in lines]))
        words, sizes = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        np.add.at(words, ends, [line.words for line in lines])
        np.add.at(sizes, ends, [line.bytes for line in lines])
        return cls(variant, ids.tolist(), words, sizes)

    def sizes(self, start: int, end: int) -> dict[str, Any]:
        """Of the tokens from start to end."""
        counted = slice(0 if start == 1 else start, end)  # a first token that is left out leaves its words behind
        words, size = int(self.words[counted].sum()), int(self.bytes[counted].sum())
        return {"variant": self.variant, "words": words, "bytes": size}


# The lines of examples that are read as one text.
Lines = Callable[[Sequence[Any], str, Setting], Iterator[Line]]


class Samples:
    """The windows of some streams, each made when it is asked for: strides make many, and they overlap."""

    def __init__(self, streams: list[tuple[str, list[Line]]], setting: Setting) -> None:
        if setting.options["stride"] > setting.window:
            raise UsageError(f"the stride is {setting.options['stride']}, the model's window {setting.window} tokens")
        self._setting = setting
        self._streams = [Stream.of(variant, lines, setting.tokenizer) for variant, lines in streams]

    def __iter__(self) -> Iterator[Sample]:
        windows_of_all = (
            (stream, start, window) for stream in self._streams for start, window in self._windows(stream.ids)
        )
        for number, (stream, start, window) in enumerate(windows_of_all):
            text = self._setting.tokenizer.decode(window.ids[-window.count :])
            yield Sample(number, "", text, (window,), stream.sizes(start, start + window.count))

    def _windows(self, ids: list[int]) -> Iterator[tuple[int, Window]]:
        """Each window with the place of the first token that it predicts."""
        options = self._setting.options
        start = 0
        for window in windows(ids, self._setting.tokenizer.eot, self._setting.window, options["stride"] or None):
            skipped = 1 if not start and options["first_token"] == "left-out" else 0
            if window.count > skipped:
                yield start + skipped, Window(window.ids, window.count - skipped)
            start += window.count


def row(sample: Sample, answers: Sequence[Scored], _setting: Setting) -> Row:
    """The nats of a window, or of all windows of a document, and every token's log-probability."""
    logprobs = [logprob for answer in answers for logprob in answer.logprobs]
    rounded = [round(logprob, 6) for logprob in logprobs]
    return {**sample.notes, "tokens": len(logprobs), "nats": -sum(logprobs), "logprobs": rounded}


def task(name: str) -> Task:
    """One of the sets of lines, with words as its unit."""
    style, megatron_name, row_name = _SETS[name]
    texts = f"{DETOKENIZED},{AS_IS}"
    options = {
        **part_option(name),
        "texts": Option(texts, f"which texts to read, of {DETOKENIZED}, {MEGATRON}, {AS_IS}; the first is compared"),
        "line_ends": _LINE_ENDS,
        **_READING,
    }

    def lines(examples: Sequence[Any], variant: str, setting: Setting) -> Iterator[Line]:
        whole, line_ends = "".join(example.text for example in examples), setting.options["line_ends"] == "counted"
        if variant == MEGATRON:  # its rules reach beyond line ends
            yield Line(
                megatron.detokenize(whole, megatron_name).encode(), _words(whole, line_ends), len(whole.encode())
            )
            return
        *ended, last = whole.split("\n")
        for line in [*(line + "\n" for line in ended), *([last] if last else [])]:
            natural = detokenize(line, STYLES[style]) if variant == DETOKENIZED else line
            yield Line(natural.encode(), _words(line, line_ends), len(line.encode()))

    return Task(
        name,
        1,
        "perplexity per word, line ends counted; windows of the model's length",
        evalset(name),
        lambda examples, setting: _samples(examples, setting, lines, _variants(setting, megatron_name)),
        row,
        lambda setting: _figures(setting, megatron_name, paper.row(row_name, "perplexity")),
        GROUPS,
        options,
        source=name,
    )


def hutter_task(name: str, unit: str) -> Task:
    """enwik8 or text8: nothing to de-tokenize, and a byte is the unit; text8's characters are bytes."""

    def read(setting: Setting) -> Data:
        data = evalset(name)(setting)
        content = b"".join(tail.data for tail in data.examples)
        pieces = [content[start : start + PIECE_BYTES] for start in range(0, len(content), PIECE_BYTES)]
        return Data(pieces, data.files, data.paths, data.label)

    def lines(examples: Sequence[bytes], _variant: str, _setting: Setting) -> Iterator[Line]:
        yield from (Line(example, 0, len(example)) for example in examples)

    def figures(_setting: Setting) -> dict[str, Figure]:
        return {
            f"bits_per_{unit},{AS_IS}": bits_figure(AS_IS, paper.row(name, f"bits per {unit}")),
            f"token_perplexity,{AS_IS}": perplexity_figure("tokens", AS_IS),
        }

    return Task(
        name,
        1,
        f"bits per {unit} of the last 5,000,000; windows of the model's length",
        read,
        lambda examples, setting: _samples(examples, setting, lines, [AS_IS]),
        row,
        figures,
        GROUPS,
        {name: option for name, option in _READING.items() if name != "reading"},
        source=name,
    )


TASKS = (*map(task, _SETS), hutter_task("enwik8", "byte"), hutter_task("text8", "character"))


def _samples(examples: Sequence[Any], setting: Setting, lines: Lines, variants: Sequence[str]) -> Samples:
    apart = setting.options.get("reading", STREAM) == DOCUMENTS
    documents = [[example] for example in examples] if apart else [examples]
    streams = [(variant, list(lines(document, variant, setting))) for variant in variants for document in documents]
    return Samples(streams, setting)


def _variants(setting: Setting, megatron_name: str) -> list[str]:
    """The texts that the option asks for."""
    known = [DETOKENIZED, AS_IS, *([MEGATRON] if megatron_name else [])]
    asked = str(setting.options["texts"]).split(",")
    for name in asked:
        if name not in known:
            raise UsageError(f"texts is {setting.options['texts']}, expected names out of {', '.join(known)}")
    return asked


def _figures(setting: Setting, megatron_name: str, row: paper.Row) -> dict[str, Figure]:
    variants = _variants(setting, megatron_name)
    figures: dict[str, Figure] = {}
    for variant in variants:
        first = variant == variants[0]
        figures[f"word_perplexity,{variant}"] = perplexity_figure("words", variant, row if first else None)
        figures[f"token_perplexity,{variant}"] = perplexity_figure("tokens", variant)
        figures[f"bits_per_byte,{variant}"] = bits_figure(variant)
    if AS_IS in variants:
        for variant in variants:
            if variant != AS_IS:
                figures[f"detokenizer_gain,{variant}"] = _gain(variant)
    return figures


def _gain(variant: str) -> Figure:
    """By how many points of perplexity a de-tokenized text is easier than the text as published."""
    plain, natural = perplexity_figure("words", AS_IS), perplexity_figure("words", variant)

    def value(rows: Sequence[Row]) -> float:
        return plain.value(rows) - natural.value(rows)

    # The two readings vary together; no error of their difference is stated.
    return Figure(value, True, lambda _rows: math.nan)


def _words(text: str, line_ends: bool) -> int:
    """Words between spaces, and one for each line end where these are counted."""
    words = sum(1 for line in text.split("\n") for word in line.split(" ") if word)
    return words + (text.count("\n") if line_ends else 0)

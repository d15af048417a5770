"""What each test set is: its files under their official names, and the counts and hashes by which it is known.

A file counts as the set if what is known of it here is right; the names are those of the tasks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wholegpt.evalsets import (
    cbt,
    cnn_dailymail,
    coqa,
    hutter,
    lambada,
    newstest,
    nq_open,
    sentences,
    wikitext,
    winograd,
)


@dataclass(frozen=True)
class Wanted:
    """A file of a set."""

    name: str
    """Its official name; it may lie there as NAME.gz or NAME.zst."""
    sha256: str | None = None
    """Of its content, where known."""
    archives: tuple[tuple[str, str], ...] = ()
    """Official archives that hold it, each with the member's name; also looked for as unpacked beside the archive."""
    ending: str = ""
    """What a file of this format ends in, for files that the user names himself."""


@dataclass(frozen=True)
class Layout:
    """A form in which a part is published."""

    wanted: tuple[Wanted, ...]
    read: Callable[..., Iterator[Any]]
    """Takes the files in that order."""
    patterns: tuple[str, ...] = ()
    """Instead of `wanted`: any number of files of a folder, sorted by name."""


@dataclass(frozen=True)
class Part:
    """A split or variant of a set."""

    source: str
    """Its name in `sources`, which is also its folder in the cache and in a mirror."""
    layouts: tuple[Layout, ...]
    """The preferred one first."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the whole of it has: "examples", and what the examples themselves count."""


def _one(source: str, wanted: Wanted, read: Callable[..., Iterator[Any]], **counts: int) -> Part:
    return Part(source, (Layout((wanted,), read),), counts)


def _cbt(kind: str, split: str, examples: int) -> Part:
    name = f"cbtest_{kind}_{split}_{examples}ex.txt"
    wanted = Wanted(name, archives=(("CBTest.tgz", f"CBTest/data/{name}"),), ending=".txt")
    return _one("eval/cbt", wanted, cbt.read, examples=examples)


def _wikitext(number: int, split: str, size_bytes: int, unknown: int) -> Part:
    name = f"wiki.{split}.tokens"
    archive = (f"wikitext-{number}-v1.zip", f"wikitext-{number}/{name}")
    lines, words = (4_358, 241_211) if split == "test" else (3_760, 213_886)
    return _one(
        f"eval/wikitext{number}", Wanted(name, None, (archive,), ".tokens"), wikitext.read,
        examples=60, lines=lines, words=words, bytes=size_bytes, unknown=unknown,
    )  # fmt: skip


def _ptb(split: str, examples: int, words: int, size_bytes: int, unknown: int) -> Part:
    name = f"ptb.{split}.txt"
    wanted = Wanted(name, None, (("simple-examples.tgz", f"simple-examples/data/{name}"),), ".txt")
    return _one("eval/ptb", wanted, sentences.read, examples=examples, words=words, bytes=size_bytes, unknown=unknown)


def _newstest(test: str, english: str, french: str, examples: int) -> Part:
    """The segments are the same in both directions; which side is called source differs."""
    names = [f"{test}-{role}.{language}.sgm" for role, language in ((english, "en"), (french, "fr"))]
    archives = (("test-full.tgz", "test-full"), ("dev.tgz", "dev"), ("dev.zip", "dev"))
    sgm = tuple(
        Wanted(name, archives=tuple((archive, f"{folder}/{name}") for archive, folder in archives), ending=name[-7:])
        for name in names
    )
    year = test.partition("-")[0]
    plain = tuple(Wanted(f"{year}.{language}", ending=f".{language}") for language in ("en", "fr"))
    return Part("eval/wmt14", (Layout(sgm, newstest.read), Layout(plain, newstest.read)), {"examples": examples})


_BENCHMARK = "1-billion-word-language-modeling-benchmark-r13output"
_HELD_OUT = "news.en.heldout-00000-of-00050"

_WIKI_RAW = Wanted(
    "wiki.test.raw",
    "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
    (
        ("wikitext-2-raw-v1.zip", "wikitext-2-raw/wiki.test.raw"),
        ("wikitext-103-raw-v1.zip", "wikitext-103-raw/wiki.test.raw"),
    ),
    ".raw",
)
# WikiText-2 and -103 have the same test articles, so the raw text is one file.
_RAW = _one(
    "eval/wikitext2", _WIKI_RAW, wikitext.read, examples=60, lines=4_358, words=241_211, bytes=1_290_590, unknown=0
)

_CNN_DAILYMAIL = Part(
    "eval/cnndm",
    (
        Layout((Wanted("test-00000-of-00001.parquet", ending=".parquet"),), cnn_dailymail.read_parquet),
        Layout((Wanted("test.jsonl", ending=".jsonl"),), cnn_dailymail.read_jsonl),
        Layout(
            (Wanted("all_test.txt"), Wanted("cnn_stories.tgz"), Wanted("dailymail_stories.tgz")),
            cnn_dailymail.read_archives,
        ),
        Layout((), cnn_dailymail.read_stories, ("all_test.txt", "**/*.story")),
    ),
    {"examples": 11_490},
)

# Of each set the first part is the paper's. Unstated in the paper: the variant and split of wikitext, ptb, lm1b
# (tokens, test), the part of enwik8 and text8, the questions of natural-questions.
SETS: dict[str, dict[str, Part]] = {
    "lambada": {
        "test": _one(
            "eval/lambada",
            Wanted(
                "lambada_test.jsonl",
                "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
                ending=".jsonl",
            ),
            lambada.read,
            examples=5_153,
        )
    },
    # The test books include one that is in WebText, so the paper reports the validation split (section 3.2).
    "cbt-cn": {"validation": _cbt("CN", "valid", 2_000), "test": _cbt("CN", "test", 2_500)},
    "cbt-ne": {"validation": _cbt("NE", "valid", 2_000), "test": _cbt("NE", "test", 2_500)},
    "wikitext2": {
        "test": _wikitext(2, "test", 1_256_449, 15_218),
        "validation": _wikitext(2, "valid", 1_121_681, 11_718),
        "raw": _RAW,
    },
    "wikitext103": {
        "test": _wikitext(103, "test", 1_281_077, 2_492),
        "validation": _wikitext(103, "valid", 1_142_309, 1_657),
        "raw": _RAW,
    },
    "ptb": {
        "test": _ptb("test", 3_761, 78_669, 449_945, 4_794),
        "validation": _ptb("valid", 3_370, 70_390, 399_782, 3_485),
    },
    "lm1b": {
        "test": _one(
            "eval/lm1b",
            Wanted(
                _HELD_OUT,
                archives=(
                    (
                        "1-billion-word-language-modeling-benchmark-r13output.tar.gz",
                        f"{_BENCHMARK}/heldout-monolingual.tokenized.shuffled/{_HELD_OUT}",
                    ),
                ),
                ending="-of-00050",
            ),
            sentences.read,
            examples=6_075,
            words=153_583,
            bytes=829_492,
            unknown=0,
        )
    },
    "enwik8": {
        "test": _one(
            "eval/enwik8", Wanted("enwik8", archives=(("enwik8.zip", "enwik8"),), ending=".xml"), hutter.read,
            examples=1, bytes=5_000_000, file_bytes=100_000_000,
        )
    },
    "text8": {
        "test": _one(
            "eval/text8", Wanted("text8", archives=(("text8.zip", "text8"),), ending=".txt"), hutter.read,
            examples=1, bytes=5_000_000, file_bytes=100_000_000, outside_a_to_z=0,
        )
    },
    "winograd": {
        "test": Part(
            "eval/wsc273",
            (
                Layout((Wanted("WSCollection.xml", ending=".xml"),), winograd.read),
                Layout((Wanted("wsc273.txt", ending=".txt"),), winograd.read),
            ),
            {"examples": winograd.SCHEMAS},
        )
    },
    "coqa": {
        "validation": _one(
            "eval/coqa",
            Wanted(
                "coqa-dev-v1.0.json", "dfa367a9733ce53222918d0231d9b3bedc2b8ee831a2845f62dfc70701f2540a", ending=".json"
            ),
            coqa.read,
            examples=500,
        )
    },
    "cnn-dailymail": {"test": _CNN_DAILYMAIL},
    "wmt14": {
        "en-fr": _newstest("newstest2014-fren", "src", "ref", 3_003),
        "fr-en": _newstest("newstest2014-fren", "ref", "src", 3_003),
        # The test of the year before; both directions have the same segments.
        "validation": _newstest("newstest2013", "src", "ref", 3_000),
    },
    "natural-questions": {
        "validation": _one(
            "eval/nq_open",
            Wanted(
                "NQ-open.dev.jsonl", "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616", ending=".jsonl"
            ),
            nq_open.read,
            examples=3_610,
        ),
        "train": _one(
            "eval/nq_open",
            Wanted(
                "NQ-open.train.jsonl",
                "0c93aaf13b12f855628489665e4ef85ffb8573ad444646f11f4fabdc57a0aabf",
                ending=".jsonl",
            ),
            nq_open.read,
            examples=87_925,
        ),
    },
}  # fmt: skip

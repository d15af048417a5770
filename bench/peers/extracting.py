"""Pages whose text is known, how a text of them is scored, and other people's extractors; for benchmarks and tests.

The article-extraction benchmark (181 pages): words in runs of four, the share of a page's runs that are right
(precision) and found (recall), each averaged over pages, F1 of both averages: trafilatura 2.0.0 has 0.9575, 0.938,
0.978 as published. The pages in several languages (160): segments that must and must not be in the text.
"""

import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

ARTICLES = "web/article-extraction-benchmark/article-extraction-benchmark.tar.xz"
SEGMENTS = "web/html-multilang/trafilatura-multilang.tar.xz"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Article:
    """A page and its text."""

    html: bytes
    text: str


@dataclass(frozen=True)
class Annotated:
    """A page, and what must and what must not be in its text."""

    html: bytes
    language: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def articles(data: Path) -> list[Article]:
    files = _files(data / ARTICLES)
    truth = json.loads(files["ground-truth.json"])
    return [Article(files[f"html/{name}.html"], found["articleBody"]) for name, found in sorted(truth.items())]


def annotated(data: Path) -> list[Annotated]:
    files = _files(data / SEGMENTS)
    found = map(json.loads, files["index.jsonl"].decode().splitlines())
    return [
        Annotated(files[f"html/{page['id']}.html"], page["lang"], tuple(page["with"]), tuple(page["without"]))
        for page in found
    ]


def _files(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as members:
        return {
            member.name.removeprefix("./"): stream.read()
            for member in members
            if (stream := members.extractfile(member))
        }


@dataclass(frozen=True)
class Score:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def score_articles(texts: Sequence[str], truth: Sequence[Article]) -> Score:
    precisions, recalls = [], []
    for text, article in zip(texts, truth, strict=True):
        found, wanted = _runs(text), _runs(article.text)
        right = (found & wanted).total()
        if found:
            precisions.append(right / found.total())
        if wanted:
            recalls.append(right / wanted.total())
    return Score(mean(precisions), mean(recalls))


def _runs(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text)
    return Counter(tuple(words[start : start + 4]) for start in range(max(1, len(words) - 3)) if words)


def score_segments(texts: Sequence[str], truth: Sequence[Annotated]) -> Score:
    pairs = list(zip(texts, truth, strict=True))
    found = sum(segment in text for text, page in pairs for segment in page.wanted)
    wrong = sum(segment in text for text, page in pairs for segment in page.unwanted)
    return Score(found / (found + wrong), found / sum(len(page.wanted) for page in truth))


def trafilatura(fast: bool) -> Callable[[bytes], str]:
    """trafilatura itself, as it is called in that benchmark."""
    from trafilatura import extract

    return lambda page: extract(page, include_comments=False, fast=fast) or ""


def readability(page: bytes) -> str:
    import html_text
    from readability import Document

    return html_text.extract_text(Document(page.decode(errors="replace")).summary())


def resiliparse(page: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(page.decode(errors="replace"), main_content=True)


PEERS: dict[str, tuple[str, Callable[[bytes], str]]] = {
    "readability + html-text": ("readability", readability),
    "resiliparse": ("resiliparse", resiliparse),
}


def pages_in_turn(pages: Sequence[bytes], count: int) -> Iterator[bytes]:
    """So many pages, the same ones again and again."""
    return (pages[number % len(pages)] for number in range(count))

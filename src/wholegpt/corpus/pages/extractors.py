"""From a page to its text, in several ways; run as a module, it answers pages one by one (see `killable`).

    trafilatura-fast        the default: on the article-extraction benchmark better than trafilatura's own, and faster
    trafilatura             with its fallbacks, readability and jusText
    trafilatura-precision   less text, but surer
    paragraphs              all <p> of at least four words, as in clones of WebText; fastest
    paper                   the choice between two

Unstated in the paper: the rule by which it combines Dragnet and Newspaper. Here the two are trafilatura in its precise
form, which knows how articles are marked, and readability (the one that trafilatura carries), which looks for dense
text. The first is surer but misses whole articles now and then: its text is taken unless it has less than a quarter of
the other's words.
"""

import logging
import sys
from collections.abc import Callable
from copy import copy
from functools import partial

import orjson
import trafilatura
from lxml import etree, html
from trafilatura.readability_lxml import Document as Readability

from wholegpt.corpus.pages import charset, killable

SHORTEST_PARAGRAPH_WORDS = 4
SMALLEST_SHARE = 0.25

# What no extractor takes text from (JSON-LD aside: trafilatura does); each of its passes is shorter without.
_UNREAD = etree.XPath(
    '//script[not(@type="application/ld+json")] | //style | //svg | //link | //meta | //img | //picture | //source'
    " | //iframe | //canvas"
)
_BLOCKS = ("p", "pre", "blockquote", "li", "td", "h1", "h2", "h3", "h4", "h5", "h6")


def _parser() -> html.HTMLParser:
    parser = html.HTMLParser(encoding="utf-8", collect_ids=False, remove_comments=True, remove_pis=True)
    # lxml would choose each element's class in Python; no extractor needs the special ones of forms.
    parser.set_element_class_lookup(
        etree.ElementDefaultClassLookup(html.HtmlElement, html.HtmlComment, html.HtmlProcessingInstruction)
    )
    return parser


_PARSER = _parser()


def parse(page: str) -> html.HtmlElement | None:
    """The tree of a page; None where there is none."""
    content = page.encode(errors="replace").strip()
    if not content:
        return None
    try:
        return html.document_fromstring(content, parser=_PARSER)
    except etree.ParserError:  # nothing but comments and the like
        return None


def canonical(tree: html.HtmlElement) -> str:
    """The address that the page calls its own, "" if it names none."""
    for link in tree.iter("link"):
        if "canonical" in (link.get("rel") or "").lower().split():
            return (link.get("href") or "").strip()
    return ""


def slim(tree: html.HtmlElement) -> html.HtmlElement:
    """The tree without what no extractor reads."""
    for element in _UNREAD(tree):
        element.drop_tree()
    return tree


def _trafilatura(tree: html.HtmlElement, fast: bool = False, precision: bool = False) -> str:
    return trafilatura.extract(tree, fast=fast, favor_precision=precision, include_comments=False) or ""


def _paragraphs(tree: html.HtmlElement) -> str:
    texts = (" ".join(paragraph.text_content().split()) for paragraph in tree.iter("p"))
    return "\n".join(text for text in texts if len(text.split()) >= SHORTEST_PARAGRAPH_WORDS)


def _readability(tree: html.HtmlElement) -> str:
    summary = parse(Readability(tree).summary())
    if summary is None:
        return ""
    innermost = (block for block in summary.iter(*_BLOCKS) if next(block.iterdescendants(*_BLOCKS), None) is None)
    return "\n".join(text for block in innermost if (text := " ".join(block.text_content().split())))


def _paper(tree: html.HtmlElement) -> str:
    general = _readability(copy(tree))
    precise = _trafilatura(tree, precision=True)
    return precise if len(precise.split()) >= SMALLEST_SHARE * len(general.split()) else general


EXTRACTORS: dict[str, Callable[[html.HtmlElement], str]] = {
    "trafilatura-fast": partial(_trafilatura, fast=True),
    "trafilatura": _trafilatura,
    "trafilatura-precision": partial(_trafilatura, precision=True),
    "paragraphs": _paragraphs,
    "paper": _paper,
}


def extract(page: str, extractor: str) -> tuple[str, str]:
    """The text of a page, "" if there is none, and its canonical address."""
    tree = parse(page)
    if tree is None:
        return "", ""
    address = canonical(tree)
    return EXTRACTORS[extractor](slim(tree)).strip(), address


def _answer(message: bytes, extractor: str) -> bytes:
    """One call: the content type of HTTP and the page's bytes, to text and canonical address as JSON."""
    content_type, _, body = message.partition(b"\n")
    text, address = extract(charset.decode(body, content_type.decode()), extractor)
    # Lone surrogates, which a page can write as references, are no UTF-8.
    return orjson.dumps([value.encode(errors="ignore").decode() for value in (text, address)])


if __name__ == "__main__":
    logging.disable()  # libraries' remarks about single pages
    name = sys.argv[1]
    extract("<html><body><p>What is made at the first page is made before the processes part.</p></body></html>", name)
    killable.serve(partial(_answer, extractor=name))

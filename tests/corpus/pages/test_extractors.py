"""Texts of pages: as good as they are said to be, on pages whose text is known; odd pages end in some text as well."""

from typing import get_args

import pytest
import trafilatura

from wholegpt.corpus.pages import charset, extractors
from wholegpt.corpus.pages.extract import ExtractorName
from wholegpt.corpus.pages.extractors import EXTRACTORS, canonical, extract, parse

from .archiving import article, page
from .known_pages import extracting


@pytest.fixture(scope="module")
def articles(shared):
    return extracting.articles(shared)


def text_of(name, html):
    return extract(charset.decode(html), name)[0]


def test_the_names_are_those_of_the_option():
    assert tuple(EXTRACTORS) == get_args(ExtractorName)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_the_article_and_nothing_else(name):
    text, address = extract(article(7, '<link rel="canonical" href="https://a.example/7">').decode(), name)
    assert address == "https://a.example/7"
    assert "the miller walked down to the river" in text
    assert "10 sacks of flour" in text
    assert "About" not in text


@pytest.mark.parametrize(
    ("name", "least"),
    [("trafilatura-fast", 0.960), ("paragraphs", 0.83)],
)
def test_articles_whose_text_is_known(articles, name, least):
    texts = [text_of(name, article.html) for article in articles]
    assert len(texts) == 181
    assert extracting.score_articles(texts, articles).f1 >= least


def test_segments_in_several_languages(shared):
    pages = extracting.annotated(shared)
    assert len(pages) == 160
    texts = [text_of("trafilatura-fast", page.html) for page in pages]
    assert extracting.score_segments(texts, pages).f1 >= 0.912


def test_what_is_left_out_beforehand_changes_no_text(articles):
    for known in articles[::6]:
        html = charset.decode(known.html)
        theirs = trafilatura.extract(html, fast=True, include_comments=False) or ""
        assert extract(html, "trafilatura-fast")[0] == theirs.strip()


def test_the_score_by_hand():
    # Runs of four words: abcd bcde cdef, and abcd bcdx; one of two is right, one of three found.
    known = [extracting.Article(b"", "a b c d e f")]
    score = extracting.score_articles(["a b c d x"], known)
    assert (score.precision, score.recall) == (1 / 2, 1 / 3)
    assert score.f1 == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("head", "address"),
    [
        ("", ""),
        ('<link rel="stylesheet" href="a.css">', ""),
        ('<link rel="Canonical" href=" https://a.example/ ">', "https://a.example/"),
        ('<link href="https://b.example/" rel="shortlink canonical">', "https://b.example/"),
        ('<link rel="canonical">', ""),
    ],
)
def test_canonical(head, address):
    assert canonical(parse(page("x", "<p>x</p>", head).decode())) == address


POISON = {
    "nothing": "",
    "blanks": " \n\t ",
    "a comment": "<!-- nothing else -->",
    "deep": "<div>" * 50_000 + "text",
    "deep and closed": "<html><body>" + "<p><b><i>" * 3_000 + "text" + "</i></b></p>" * 3_000,
    "an endless tag": "<html><body><p " + "a" * 100_000,
    "an open script": "<html><body><script>" * 1_000,
    "control characters": "<html><body><p>" + "".join(map(chr, range(1, 32))) + "\ufffe\uffff</p></body></html>",
    "surrogates": "<html><body><p>&#xD800;&#55357;\ud800 text</p></body></html>",
    "a declaration of XML": '<?xml version="1.0" encoding="utf-16"?><html><body><p>text</p></body></html>',
    "frames": "<html><frameset><frame src=a></frameset></html>",
    "no HTML": "%PDF-1.4 \x80\x81",
}


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("html", POISON.values(), ids=POISON)
def test_odd_pages_end_in_some_text(html, name):
    assert isinstance(extractors._answer(b"\n" + html.encode(errors="surrogatepass"), name), bytes)

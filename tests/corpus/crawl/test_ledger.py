"""The ledger: what is in it is in the files, and what a kill left is mended."""

from pathlib import Path

from fastwarc.warc import ArchiveIterator
from multidict import CIMultiDict
from yarl import URL

from wholegpt.corpus.crawl.ledger import JOURNAL, Files, Ledger, whole_lines
from wholegpt.corpus.crawl.queue import Link
from wholegpt.corpus.crawl.requests import Answer, Refusal

FILES = Files("pages", "zst", 1_000, "")
URLS = 6


def answer(number: int) -> Answer:
    head, body = b"HTTP/1.1 200 OK\r\n\r\n", bytes([number]) * 3000
    return Answer(URL(f"http://a.example/{number}"), 200, CIMultiDict(), b"GET / HTTP/1.1\r\n\r\n", head, body, "", "")


def link(number: int) -> Link:
    return Link(f"http://a.example/{number}", id=str(number))


def fill(folder: Path, positions: range) -> Ledger:
    folder.mkdir(exist_ok=True)
    book = Ledger(folder, URLS, FILES)
    for number in positions:
        book.store(number, link(number), answer(number))
    book.close()
    return book


def stored(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.glob("pages-*")):
        with path.open("rb") as stream:
            found += [
                one.headers["WARC-Target-URI"]
                for one in ArchiveIterator(stream)
                if one.headers["WARC-Type"] == "response"
            ]
    return found


def test_what_was_done_is_known_when_it_is_opened_again(tmp_path):
    book = Ledger(tmp_path, URLS, FILES)
    book.store(3, link(3), answer(3))
    book.refuse(0, link(0), Refusal("robots"))
    book.hand_over(5, link(5), Link("http://b.example/", origin="http://a.example/5", hops=1))
    book.close()
    again = Ledger(tmp_path, URLS, FILES)
    again.close()
    for one in (book, again):
        assert bytes(one.done) == b"\1\0\0\1\0\1" and one.finished == 3
        assert one.outcomes == {"stored": 1, "robots": 1, "elsewhere": 1}
    assert again.outcomes == book.outcomes and stored(tmp_path) == ["http://a.example/3"]


def test_cut_anywhere_it_goes_on_with_every_page_once(tmp_path):
    """The files as a kill may leave them: the journal cut at any byte, pages after it whole, cut, or in a new file."""
    fill(tmp_path / "whole", range(4))
    journal = (tmp_path / "whole" / JOURNAL).read_bytes()
    for size in range(0, len(journal) + 1, 37):
        folder = tmp_path / str(size)
        folder.mkdir()
        for path in (tmp_path / "whole").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / JOURNAL).write_bytes(journal[:size])
        done = journal[:size].count(b"\n")
        with (folder / f"pages-{max(done - 1, 0):05d}.warc.zst").open("ab") as stream:
            stream.write(b"half a record")
        book = fill(folder, range(done, 4))
        assert book.finished == 4
        assert stored(folder) == [f"http://a.example/{number}" for number in range(4)]
        assert (folder / JOURNAL).read_bytes().count(b"\n") == 4


def test_pages_that_a_power_cut_lost_are_fetched_again(tmp_path):
    fill(tmp_path, range(3))
    last = sorted(tmp_path.glob("pages-*"))[-1]
    last.write_bytes(last.read_bytes()[:-1])
    book = Ledger(tmp_path, URLS, FILES)
    book.close()
    assert bytes(book.done) == b"\1\1\0\0\0\0"
    assert stored(tmp_path) == ["http://a.example/0", "http://a.example/1"]


def test_a_last_line_without_its_end_is_cut_off(tmp_path):
    path = tmp_path / "lines"
    assert list(whole_lines(path)) == []
    path.write_bytes(b"one\ntwo\nthr")
    assert list(whole_lines(path)) == [b"one\n", b"two\n"]
    assert path.read_bytes() == b"one\ntwo\n"

"""The rules one by one, each with the reason that it gives."""

import msgspec
import pytest

from wholegpt.corpus.links import LinksOptions, rule
from wholegpt.corpus.submissions import lists
from wholegpt.corpus.submissions.rules import PRESETS, Sieve, Submission
from wholegpt.errors import UsageError, WholeGPTError

GOOD = {"id": "abc", "url": "http://example.com/a", "score": 3, "created_utc": 1_500_000_000, "subreddit": "science"}


def sieve(tmp_path, **options) -> Sieve:
    return Sieve(rule(LinksOptions((tmp_path,), tmp_path / "links", **options)))


def test_a_link(tmp_path):
    key, *columns = sieve(tmp_path).sift(Submission(**GOOD))
    assert len(key) == 16
    assert columns == ["http://example.com/a", "example.com", 3, 1_500_000_000, "science", "abc"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"url": None}, "null-url"),
        ({"url": ""}, "null-url"),
        ({"score": None}, "null-score"),
        ({"created_utc": None}, "null-date"),
        ({"created_utc": "yesterday"}, "null-date"),
        ({"created_utc": -5}, "null-date"),
        ({"created_utc": float("inf")}, "null-date"),
        ({"is_self": True}, "self"),
        ({"url": "/r/science/comments/abc"}, "scheme"),
        ({"url": "ftp://example.com/"}, "scheme"),
        ({"url": "javascript:alert(1)"}, "scheme"),
        ({"created_utc": 1_514_764_800}, "date"),  # 2018-01-01T00:00:00Z
        ({"score": 2}, "karma"),
        ({"score": -50}, "karma"),
        ({"url": "http://[::1"}, "malformed"),
        ({"url": "http://exa mple.com/"}, "malformed"),
        ({"url": "https://en.wikipedia.org/wiki/Sea"}, "wikipedia"),
        ({"url": "https://EN.m.Wikipedia.ORG./wiki/Sea"}, "wikipedia"),
        ({"url": "https://www.reddit.com/r/science"}, "blocked-host"),
        ({"url": "http://i.imgur.com/x"}, "blocked-host"),
        ({"url": "http://example.com/a.JPG"}, "extension"),
        ({"url": "http://example.com/a.mp3?x=1"}, "extension"),
        ({"url": "http://example.com/a%2Epng"}, "extension"),
    ],
)
def test_reasons(tmp_path, changed, reason):
    assert sieve(tmp_path).sift(Submission(**{**GOOD, **changed})) == reason


@pytest.mark.parametrize(
    "changed",
    [
        {"score": 3},
        {"created_utc": 1_514_764_799},
        {"created_utc": "1119552233"},
        {"created_utc": 1119552233.0},
        {"over_18": True},
        {"url": "HTTPS://Example.com/A"},
        {"url": "http://127.0.0.1:8080/x"},
        {"url": "http://localhost/"},
        {"url": "http://example.mov/"},  # an ending of the host, not of a path
        {"url": "http://example.com/paper.pdf"},
        {"url": "http://notreddit.com/"},
        {"url": "http://google.com/"},
        {"url": "http://example.com/" + "long/" * 2000},
        {"subreddit": None, "id": None},
        {"crosspost_parent": "t3_x"},
    ],
)
def test_what_is_kept(tmp_path, changed):
    assert isinstance(sieve(tmp_path).sift(Submission(**{**GOOD, **changed})), tuple)


def test_what_is_met_is_counted(tmp_path):
    one = sieve(tmp_path)
    one.sift(Submission(**{**GOOD, "created_utc": "1119552233", "over_18": True, "crosspost_parent": "t3_x"}))
    found = one.sift(Submission(**{**GOOD, "url": "http://example.com/?a=1&amp;b=&lt;2&gt;"}))
    assert found[1] == "http://example.com/?a=1&b=<2>"
    one.sift(Submission(**{**GOOD, "url": "http://example.com/?a=1&copy=2"}))
    assert one.counts == {"dates_as_text": 1, "over_18": 1, "crossposts": 1, "escaped": 1}


def test_only_named_fields_are_read():
    decoder = msgspec.json.Decoder(Submission)
    found = decoder.decode(b'{"id": "1", "author": "someone", "author_flair_text": "x", "url": "http://a.com/"}')
    assert "someone" not in repr(found)
    assert not {name for name in Submission.__struct_fields__ if "author" in name}


def test_options_over_the_preset(tmp_path):
    nsfw = Submission(**{**GOOD, "over_18": True})
    later = Submission(**{**GOOD, "created_utc": 1_600_000_000})
    shop = Submission(**{**GOOD, "url": "http://www.ebay.com/itm/1"})
    assert sieve(tmp_path).sift(later) == "date"
    assert all(isinstance(sieve(tmp_path).sift(one), tuple) for one in (nsfw, shop))
    rebuilt = sieve(tmp_path, preset="openwebtext")
    assert [rebuilt.sift(one) for one in (nsfw, shop)] == ["over-18", "blocked-host"]
    assert isinstance(rebuilt.sift(later), tuple)
    assert sieve(tmp_path, exclude_over_18=True).sift(nsfw) == "over-18"
    assert isinstance(sieve(tmp_path, until="").sift(later), tuple)
    assert sieve(tmp_path, since="2017-07-15").sift(Submission(**GOOD)) == "date"
    assert isinstance(sieve(tmp_path, since="2017-07-14").sift(Submission(**GOOD)), tuple)
    assert sieve(tmp_path, min_score=4).sift(Submission(**GOOD)) == "karma"
    assert isinstance(sieve(tmp_path, score_rule="sum", min_score=4).sift(Submission(**GOOD)), tuple)


def test_own_lists(tmp_path):
    (tmp_path / "hosts").write_text("# mine\nExample.com  # with all below\n\n", encoding="utf-8")
    (tmp_path / "endings").write_text(".PDF\n", encoding="utf-8")
    one = sieve(tmp_path, block_domains=tmp_path / "hosts")
    other = sieve(tmp_path, block_extensions=tmp_path / "endings")
    assert one.sift(Submission(**{**GOOD, "url": "http://sub.example.com/x"})) == "blocked-host"
    assert isinstance(one.sift(Submission(**{**GOOD, "url": "http://example.com.au/x"})), tuple)
    assert other.sift(Submission(**{**GOOD, "url": "http://example.org/x.pdf"})) == "extension"
    with pytest.raises(WholeGPTError, match="cannot be read as a list"):
        sieve(tmp_path, block_domains=tmp_path)


def test_lists_of_urls(tmp_path):
    one = sieve(tmp_path)
    assert one.sift_listed(Submission(url=" http://example.com/a\r"))[1:] == (
        "http://example.com/a", "example.com", None, None, "", "",
    )  # fmt: skip
    reasons = [one.sift_listed(Submission(url=url)) for url in ("", "example.com", "http://", "http://x.com/a.gif")]
    assert reasons == ["null-url", "scheme", "malformed", "extension"]


def test_lists_that_the_paper_contradicts():
    """The published domains of WebText have these: no list of its preset may."""
    hosts = {host for name in PRESETS["webtext"].hosts for host in lists.load(name)}
    found = {"google.com", "archive.org", "github.com", "ebay.com", "flic.kr", "flickr.com", "itunes.apple.com"}
    assert not hosts & (found | {"walmart.com", "pinterest.com", "rollingstone.com", "xkcd.com"})
    assert {"reddit.com", "twitter.com", "youtube.com", "imgur.com"} <= hosts


def test_wrong_usage(tmp_path):
    for options in ({"partitions": 0}, {"since": "2017"}, {"until": "2017-13-01"}):
        with pytest.raises(UsageError):
            LinksOptions((tmp_path,), tmp_path, **options)

"""Normal forms: the stated rules by hand, and the short way against the long one."""

import html

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wholegpt.corpus.submissions import urls
from wholegpt.corpus.submissions.dumps import Dump
from wholegpt.corpus.submissions.urls import extension, normalise, normalise_any

RULES = [
    ("https://example.com/a", "example.com/a"),
    ("HTTP://EXAMPLE.com/A", "example.com/A"),
    ("http://www.example.com/", "example.com"),
    ("http://www.com/", "www.com"),
    ("http://example.com.:80/", "example.com"),
    ("https://example.com:443", "example.com"),
    ("https://example.com:80/", "example.com:80"),
    ("http://example.com:8080/x", "example.com:8080/x"),
    ("http://example.com/a/b/../c/./d/", "example.com/a/c/d"),
    ("http://example.com/../a", "example.com/a"),
    ("http://example.com/%7euser/%c3%a9?q=%e9", "example.com/~user/%C3%A9?q=%E9"),
    ("http://example.com/a b", "example.com/a%20b"),
    ("http://example.com/é", "example.com/%C3%A9"),
    ("http://bücher.example/", "xn--bcher-kva.example"),
    ("http://xn--bcher-kva.example/", "xn--bcher-kva.example"),
    ("http://example.com/?b=2&a=1&utm_source=x&UTM_Medium=y&fbclid=z", "example.com?a=1&b=2"),
    ("http://example.com/?utm_source=x", "example.com"),
    ("http://example.com?", "example.com"),
    ("http://example.com/?a", "example.com?a="),
    ("http://example.com/?a-b=1&a=2", "example.com?a=2&a-b=1"),
    ("http://example.com/?u=/ap/2005,1:2", "example.com?u=%2Fap%2F2005%2C1%3A2"),
    ("http://example.com/x#part", "example.com/x"),
    ("http://example.com/#!5755071/page", "example.com#!5755071/page"),
    ("http://user:secret@example.com/", "user:secret@example.com"),
    ("http://127.0.0.1:8000/x", "127.0.0.1:8000/x"),
    ("http://localhost/x", "localhost/x"),
    ("http://[0:0::1]:80/x", "[::1]/x"),
    ("  http://example.com/a\n", "example.com/a"),
]

MALFORMED = [
    "", "http://", "http:///path", "http://[::1", "http://[zz]/", "http://example.com:99999/", "http://exa mple.com/",
    "http://exa<mple.com/", "http://.../", "example.com/a", "//example.com", "ftp://example.com/",
    "javascript:alert(1)", "http://\ud800.com/", "http://example.com:port/", "http://%zz/",
]  # fmt: skip

CHARACTERS = st.sampled_from(list("aZ09-._~:/?#[]@!$&'()*+,;=% \t\n\\|^`{}<>\"é京\u00ad\u3002\u2100\ud800\0"))
PATHS = st.text(st.sampled_from(list("abZ0/._~,:@=+!*()$&';%-é")), max_size=20)
QUERIES = st.text(st.sampled_from(list("abZ0.=&+/:,_~;-?%'é")), max_size=25)
WRITTEN = st.builds(
    lambda scheme, host, path, query, fragment: f"{scheme}://{host}/{path}?{query}{fragment}",
    st.sampled_from(["http", "https", "HTTP"]),
    st.sampled_from(
        ["a.com", "www.a.com", "www.com", "a-b.co.uk", "A.com", "a.com.", "a..com", "1.2.3.4", "xn--a.com"]
    ),
    PATHS,
    QUERIES | st.just("utm_source=1&b=2&fbclid=3"),
    st.sampled_from(["", "#x", "#!x", "#"]),
)


@pytest.mark.parametrize(("url", "normal"), RULES)
def test_rules(url, normal):
    found = normalise(url)
    assert found is not None
    assert found[0] == normal
    assert normalise_any(url) == found


@pytest.mark.parametrize("url", MALFORMED)
def test_malformed(url):
    assert normalise(url) is None


def test_host():
    hosts = [normalise(url)[1] for url in ("http://WWW.Bücher.example.:81/", "http://[::0:1]/", "http://1.2.3.4/")]
    assert hosts == ["www.xn--bcher-kva.example", "[::1]", "1.2.3.4"]


@given(WRITTEN)
@example("http://a.com/x;?b=1&a=2")
@example("http://a.com/.?a=b=c&=d&&e")
def test_the_short_way_is_the_long_one(url):
    assert normalise(url) == normalise_any(url)


@given(st.text(CHARACTERS, max_size=40) | st.text(max_size=40) | WRITTEN)
def test_never_raises_and_is_settled(text):
    for url in (text, "http://" + text, "http://a.com/" + text):
        found = normalise(url)
        assert found == normalise_any(url)
        if found and not found[0].startswith("www."):
            again = normalise("http://" + found[0])
            assert again is not None
            assert again[0] == found[0]


def test_real_urls(shared):
    import orjson

    lines = b"".join(Dump(shared / "web" / "reddit" / "RS_v2_2005-07.xz").blocks()).splitlines()
    found = [html.unescape(orjson.loads(line)["url"]) for line in lines]
    assert [normalise(url) for url in found] == [normalise_any(url) for url in found]
    short = [urls._PLAIN.fullmatch(url.partition("#")[0]) for url in found]
    assert sum(match is not None for match in short) > 0.97 * len(found)


def test_extension():
    names = ["a.com/b.JPG", "a.com/b.tar.gz", "a.com", "a.com/b.c/d", "a.com/x?y=z.png", "a.com/x."]
    assert [extension(name) for name in names] == ["jpg", "gz", "", "", "", ""]


def test_digest_is_stable():
    assert urls.digest("example.com/a").hex() == "c47c880e9461e16545268e3156a7b7f6"  # b2sum -l 128

"""The kernel against `urls.normalise`, on everything that a URL may be."""

import html

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wholegpt import compiled
from wholegpt.corpus.submissions import lists, url_batches, urls
from wholegpt.corpus.submissions.dumps import Dump

PLAIN = [
    "https://example.com/a", "http://www.example.com/", "http://www.com/", "http://EXAMPLE.com/A#part",
    "http://example.com/%7euser/%c3%a9?q=%e9", "http://example.com/é", "http://example.com/?b=2&a=1&UTM_Source=x&fbclid=z",
    "http://example.com?", "http://example.com/?a-b=1&a=2", "http://example.com/?u=/ap/2005,1:2", "http://1.2.3.4/x.JPG",
    "http://example.com/s/ap/x;_ylt=A", "http://example.com/x?a=b=c&&d", "http://example.com//a//",
]  # fmt: skip
ODD = [
    "", "http://", "HTTP://example.com/", "http://localhost/", "http://example.com:80/", "http://user@example.com/",
    "http://example.com./", "http://example.com/a/../b", "http://example.com/%2e/", "http://example.com/#!a", "ftp://a.com/",
    "http://example.com/a b", "http://example.com/a;%41", "http://example.com/a;", "http://example.com/%zz",
    "http://bücher.example/", "http://[::1]/", "http://example.com\\x", " http://example.com/", "http://a_b.com/",
    "http://example.com/?" + "&".join(f"n{number}=/" for number in range(40)),
]  # fmt: skip

HOSTS = st.sampled_from(
    ["a.com", "www.a.com", "www.com", "WWW.A.co.uk", "a.com.", "a..com", "1.2.3.4", "a_b.com", "é.com"]
)
BYTES = st.sampled_from(
    [
        "%2e",
        "%2F",
        "%3f",
        "%25",
        "%3B",
        "%41",
        "%e9",
        "%C3%A9",
        "%zz",
        "%",
        "%7",
        *"aZ0/.?;=&+-_~|[]()'\"<>\\^`{}@:!$*,é京 \t",
    ]
)
TEXTS = st.lists(BYTES, max_size=12).map("".join)
NAMES = st.sampled_from(
    [name.replace("*", "x") for name in lists.load("tracking_parameters")] + ["a", "A", "utm", "", "b%26"]
)
QUERIES = st.lists(st.builds("{}{}{}".format, NAMES | TEXTS, st.sampled_from(["=", "", "=="]), TEXTS), max_size=4)
URLS = st.builds(
    lambda scheme, host, path, query, fragment: f"{scheme}{host}/{path}{query}{fragment}",
    st.sampled_from(["http://", "https://", "HTTP://", "http:/", "ftp://"]),
    HOSTS,
    TEXTS,
    QUERIES.map(lambda fields: "?" + "&".join(fields)) | st.just(""),
    st.sampled_from(["", "#", "#x y", "#!x", "#é"]),
)


def agree(given: list[str]) -> int:
    """How many the kernel does, all as `urls` says."""
    batch = url_batches.normalise(pa.array(given, pa.string()))
    assert batch is not None
    for number, url in enumerate(given):
        if not batch.plain[number]:
            assert batch.hosts[number].as_py() == ""
            continue
        found = urls.normalise_any(url)
        assert found is not None, url
        assert batch.digests[number] == urls.digest(found[0]), url
        assert batch.hosts[number].as_py() == found[1]
        ending = urls.extension(found[0]).encode()
        assert batch.endings[number] == int.from_bytes(ending if len(ending) <= 8 else b"", "little"), url
    return int(batch.plain.sum())


@given(st.lists(URLS, min_size=1, max_size=20))
@example(["http://a.com/%2e/x"])
@example(["http://a.com/x%3Bb;c"])
@example(["http://a.com/?b=1&a%3D=2&a=%20+&&=&x"])
@example(["http://a.com/?" + "&".join(f"n{number}=/" for number in range(40))])
@example(["http://a.com/?&/&/&/&/&/&/&/&/&/&/"])
@settings(deadline=None)
def test_kernel(given):
    agree(given)


@given(st.lists(st.text(max_size=30).filter(lambda text: text.isprintable()), min_size=1, max_size=9))
@settings(deadline=None)
def test_kernel_on_any_text(texts):
    agree(texts + ["http://a.com/" + text for text in texts] + ["http://" + text for text in texts])


def test_what_the_kernel_does_and_what_not():
    assert agree(PLAIN) == len(PLAIN)
    assert agree(ODD) == 0


def test_kernel_on_real_urls(shared):
    import orjson

    lines = b"".join(Dump(shared / "web" / "reddit" / "RS_v2_2005-07.xz").blocks()).splitlines()
    found = [html.unescape(orjson.loads(line)["url"]) for line in lines]
    assert agree(found) > 0.995 * len(found)


def test_without_numba(monkeypatch):
    monkeypatch.setattr(compiled, "load", lambda _: None)
    assert url_batches.normalise(pa.array(["http://a.com/"])) is None


def test_words():
    assert url_batches.words(("jpg", "webp")).tolist() == [int.from_bytes(name, "little") for name in (b"jpg", b"webp")]

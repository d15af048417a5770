import pytest

from wholegpt.corpus.pages import wikipedia


@pytest.mark.parametrize(
    ("url", "canonical", "reason"),
    [
        ("https://en.wikipedia.org/wiki/Sea", "", "host"),
        ("http://DE.M.WIKIPEDIA.ORG./wiki/Meer", "", "host"),
        ("https://wikipedia.org:443/", "", "host"),
        ("https://www.wikiwand.com/en/Sea", "", "mirror"),
        ("https://kids.kiddle.co/Sea", "", "mirror"),
        ("https://a.example/wiki/Sea", "https://en.wikipedia.org/wiki/Sea", "canonical"),
        ("", "https://en.wikipedia.org/wiki/Sea", "canonical"),
        ("https://notwikipedia.org/", "", ""),
        ("https://wikipedia.org.evil.example/", "", ""),
        ("https://a.example/?from=en.wikipedia.org", "https://a.example/", ""),
        ("https://en.wiktionary.org/wiki/sea", "", ""),
        ("http://[::1", "http://[", ""),
        ("", "", ""),
    ],
)
def test_reasons(url, canonical, reason):
    assert wikipedia.reason(url, canonical) == reason


def test_the_list_of_mirrors_is_one_of_hosts():
    assert len(wikipedia.mirrors()) > 20
    for name in wikipedia.mirrors():
        assert name == wikipedia.host(f"http://{name}/")
        assert "." in name and not name.startswith("www.")

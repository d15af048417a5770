"""Domains of hosts, their table, and how it compares with another."""

import math

import pytest
from pyarrow import parquet

from wholegpt.corpus.submissions import domains
from wholegpt.errors import WholeGPTError


def table(tmp_path):
    domains.write(tmp_path / "a.parquet", [("news.bbc.co.uk", 3), ("www.bbc.co.uk", 2), ("cnn.com", 4), ("[::1]", 1)])
    domains.write(tmp_path / "b.parquet", [("bbc.com", 1), ("cnn.com", 5), ("localhost", 1), ("me.blogspot.com", 2)])
    domains.write(tmp_path / "c.parquet", [])
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet")]
    assert domains.merge(paths, tmp_path, tmp_path / "spill", 2**28) == 6
    return tmp_path / "domains.parquet"


def test_domains():
    names = ["a.b.co.uk", "x.github.io", "127.0.0.1", "localhost", "[::1]", "xn--bcher-kva.example", "co.uk"]
    assert [domains.domain(name)[0] for name in names] == [
        "b.co.uk", "github.io", "127.0.0.1", "localhost", "[::1]", "xn--bcher-kva.example", "co.uk",
    ]  # fmt: skip


def test_merge(tmp_path):
    rows = parquet.ParquetFile(table(tmp_path)).read().to_pylist()
    assert [(row["domain"], row["links"]) for row in rows] == [
        ("cnn.com", 9), ("bbc.co.uk", 5), ("blogspot.com", 2), ("[::1]", 1), ("bbc.com", 1), ("localhost", 1),
    ]  # fmt: skip
    text = (tmp_path / "domains.txt").read_text()
    assert text == "9 cnn.com\n5 bbc.co.uk\n2 blogspot.com\n1 [::1]\n1 bbc.com\n1 localhost\n"


@pytest.mark.parametrize("form", ["{1} {0}", "{0} {1}", "{0},{1}", "{0}\t{1}"])
def test_compare_in_either_order(tmp_path, form):
    rows = [("cnn", 100), ("bbc", 90), ("blogspot", 80), ("nytimes", 95), ("9gag", 1)]
    (tmp_path / "top").write_text("\n".join(form.format(*row) for row in rows) + "\n")
    assert domains.compare(table(tmp_path), tmp_path / "top") == {
        "published": 5, "in both": 3, "spearman": 1.0, "missing": 2, "missing first": ["nytimes", "9gag"],
    }  # fmt: skip


def test_compare_whole_domains(tmp_path):
    (tmp_path / "top").write_text("domain,links\nbbc.co.uk,1\nbbc.com,5\ncnn.com,2\n")
    found = domains.compare(table(tmp_path), tmp_path / "top")
    # Ranks 1 3 2 against 2 1 3: 1 - 6 (1 + 4 + 1) / (3 (9 - 1)) = -0.5
    assert (found["in both"], found["spearman"]) == (3, -0.5)


def test_no_order(tmp_path):
    (tmp_path / "top").write_text("1 cnn.com\n")
    assert domains.compare(table(tmp_path), tmp_path / "top")["spearman"] is None


def test_spearman_with_equal_values():
    # Ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5, variances 4.5 and 5.
    assert domains.spearman([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(domains.spearman([1, 1], [1, 2]))


@pytest.mark.parametrize(("content", "message"), [("cnn.com 5\nbbc.com\n", "line 2"), ("", "holds no domains")])
def test_what_is_no_table(tmp_path, content, message):
    (tmp_path / "top").write_text(content)
    with pytest.raises(WholeGPTError, match=message):
        domains.compare(table(tmp_path), tmp_path / "top")

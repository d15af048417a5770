"""Inputs are cut by what they are; the rest is named in one sentence."""

import gzip

import pytest

from wholegpt.corpus.pages import shards as page_shards
from wholegpt.corpus.pages.shards import ARCHIVE, FILES
from wholegpt.errors import WholeGPTError

from .archiving import article, record


def test_a_folder_is_cut_by_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(page_shards, "FILES_A_SHARD", 2)
    names = ["b.warc.gz", "a.warc.zst", "c.warc", "d.wet.gz", "e.WARC.GZ", "notes.txt", "manifest.json"]
    for name in [*names, "x/1.html", "x/2.htm", "x/3.xhtml", "x/4.HTML", "x/y/5.html"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = page_shards.shards([tmp_path])
    archives = [shard.inputs[0].name for shard in found if shard.values == (ARCHIVE,)]
    pages = [[file.name for file in shard.inputs] for shard in found if shard.values == (FILES,)]
    assert archives == ["a.warc.zst", "b.warc.gz", "c.warc", "d.wet.gz", "e.WARC.GZ"]
    assert pages == [["1.html", "2.htm"], ["3.xhtml", "4.HTML"], ["5.html"]]
    assert len({shard.name for shard in found}) == len(found)


def test_the_order_is_that_of_the_inputs(tmp_path):
    for name in ("a.warc", "b.warc"):
        (tmp_path / name).touch()
    found = page_shards.shards([tmp_path / "b.warc", tmp_path / "a.warc"])
    assert [shard.inputs[0].name for shard in found] == ["b.warc", "a.warc"]
    assert page_shards.shards([]) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (record("warcinfo", b"x"), ARCHIVE),
        (gzip.compress(record("warcinfo", b"x")), ARCHIVE),
        (article(), FILES),
        (b"\n  <HTML lang=en>", FILES),
    ],
)
def test_a_file_by_itself_is_known_by_its_content(tmp_path, content, kind):
    (tmp_path / "unnamed").write_bytes(content)
    assert page_shards.shards([tmp_path / "unnamed"])[0].values == (kind,)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4", b"\x1f\x8b broken", b"plain words"])
def test_what_is_unknown_is_an_error(tmp_path, content):
    (tmp_path / "unnamed").write_bytes(content)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "unnamed.txt").write_bytes(content)
    for path in (tmp_path / "unnamed", tmp_path / "folder"):
        with pytest.raises(WholeGPTError, match=r"holds no pages; expected WARC or WET files") as error:
            page_shards.shards([path])
        assert "\n" not in str(error.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(WholeGPTError, match="cannot be read"):
        page_shards.shards([tmp_path / "nowhere"])

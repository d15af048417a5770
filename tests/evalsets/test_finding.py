"""Where sets are found, in which order, and that what is not the set never passes for it."""

import gzip
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from wholegpt import evalsets
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.evalsets import SETS, finding, lambada
from wholegpt.evalsets.sets import Layout, Part, Wanted
from wholegpt.sources import ALIASES, SOURCES

PASSAGES = [{"text": f"It was the end of day {word}"} for word in ("one", "two", "three")]
LINES = "".join(json.dumps(passage) + "\n" for passage in PASSAGES)

LAMBADA = SETS["lambada"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A set `lambada` of three passages."""
    whole = SETS["lambada"]["test"]
    wanted = Wanted("lambada_test.jsonl", None, (("all.zip", "x/lambada_test.jsonl"),), ".jsonl")
    monkeypatch.setitem(SETS, "lambada", {"test": replace(whole, layouts=(Layout((wanted,), lambada.read),),
                                                          counts={"examples": 3})})  # fmt: skip


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror" / "eval" / "lambada"
    folder.mkdir(parents=True)
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path / "mirror"))
    return folder


def put(path: Path, text: str = LINES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    packed = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)(data)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/lambada_test.jsonl", data)
    else:
        path.write_bytes(packed)
    return path


@pytest.mark.parametrize(
    "name",
    ["lambada_test.jsonl", "lambada_test.jsonl.gz", "lambada_test.jsonl.zst", "all.zip", "x/lambada_test.jsonl.gz"],
)
def test_forms_in_a_mirror(mirror, name):
    path = put(mirror / name)
    found = evalsets.find("lambada")
    assert (found.origin, found.label, found.fault, found.files[0].path) == ("mirror", "", "", path)
    assert [example.target for example in found.examples] == [" one", " two", " three"]
    assert (found.name, found.part, found.counts) == ("lambada", "test", {"examples": 3})


def test_order(home, mirror, tmp_path):
    put(mirror / "lambada_test.jsonl")
    assert evalsets.find("lambada").origin == "mirror"
    put(home / "eval" / "lambada" / "lambada_test.jsonl")
    assert evalsets.find("lambada").origin == "cache"
    for place in ("", "lambada", "eval/lambada"):
        named = put(tmp_path / "mine" / place / "lambada_test.jsonl")
        found = evalsets.find("lambada", tmp_path / "mine")
        assert (found.origin, found.files[0].path, found.label) == ("data-dir", named, "")
    (tmp_path / "empty").mkdir()
    assert evalsets.find("lambada", tmp_path / "empty").origin == "cache"
    with pytest.raises(WholeGPTError, match="nowhere does not exist"):
        evalsets.find("lambada", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("lambada_test.jsonl", LINES.partition("\n")[0], "has 1 examples, the set 3"),
        ("FIXTURE-lambada_test.jsonl", LINES, ""),
        ("STANDIN-other.jsonl.gz", LINES, ""),
        ("anything.jsonl", LINES, ""),
        ("lambada_test.jsonl", "{", "line 1: not JSON"),
    ],
)
def test_what_is_not_the_set_is_not_taken_from_cache_or_mirror(mirror, name, text, said):
    put(mirror / name, text)
    with pytest.raises(WholeGPTError) as caught:
        evalsets.find("lambada")
    sentence = str(caught.value)
    assert sentence.startswith("the test part of lambada is missing")
    assert said in sentence and "\n" not in sentence
    assert "or name the folder that has it with --data-dir" in sentence
    # A wrong file in the place of the right one is to be removed; otherwise the ways to get the set are told.
    mends = ["remove it"] if name == "lambada_test.jsonl" else ["WHOLEGPT_MIRROR", "openaipublic", "gpt-2/data"]
    assert all(words in sentence for words in mends)


def test_what_is_not_the_set_is_labelled_when_it_is_named(tmp_path):
    folder = tmp_path / "lambada"
    cases = [
        ("lambada_test.jsonl", LINES + LINES, 6, "has 6 examples, the set 3"),
        ("FIXTURE-lambada_test.jsonl", LINES, 3, "is called FIXTURE"),
        ("STANDIN-other.jsonl.gz", LINES, 3, "is called STANDIN"),
        ("other.jsonl.zst", LINES + LINES, 6, "has 6 examples"),
    ]
    for name, text, count, fault in cases:
        path = put(folder / name, text)
        for named in (folder, path, tmp_path):
            found = evalsets.find("lambada", named)
            assert (found.origin, found.label) == ("data-dir", f"not the paper's data (n = {count})")
            assert fault in found.fault
        path.unlink()
    # A file of the right content under another name is the set.
    assert evalsets.find("lambada", put(folder / "mine.jsonl")).label == ""


def test_a_hash_that_is_known_decides(tmp_path, monkeypatch):
    part = SETS["lambada"]["test"]
    wanted = replace(part.layouts[0].wanted[0], sha256="0" * 64)
    monkeypatch.setitem(SETS, "lambada", {"test": replace(part, layouts=(Layout((wanted,), lambada.read),))})
    found = evalsets.find("lambada", put(tmp_path / "lambada_test.jsonl.gz"))
    assert found.label == "not the paper's data (n = 3)" and "has the sha256 " in found.fault


def test_an_archive_is_known_by_its_hash(tmp_path, monkeypatch):
    """As many bytes as enwik8 has are not yet enwik8."""
    monkeypatch.setitem(SETS, "enwik8", {"test": replace(SETS["enwik8"]["test"], counts={"examples": 1})})
    with zipfile.ZipFile(tmp_path / "enwik8.zip", "w") as archive:
        archive.writestr("enwik8", "abc")
    found = evalsets.find("enwik8", tmp_path)
    assert "enwik8.zip has the sha256" in found.fault and "the published archive 547994d9980e..." in found.fault
    (tmp_path / "enwik8").write_text("abc")
    assert evalsets.find("enwik8", tmp_path).fault == ""


def test_several_candidates_are_not_chosen_from(tmp_path):
    put(tmp_path / "lambada" / "a.jsonl")
    second = put(tmp_path / "lambada" / "b.jsonl.gz")
    with pytest.raises(WholeGPTError, match="several files could be lambada"):
        evalsets.find("lambada", tmp_path)
    assert evalsets.find("lambada", second).files[0].path == second


def test_the_file_of_another_set_is_not_taken(tmp_path):
    other = put(tmp_path / "lambada" / "NQ-open.dev.jsonl", '{"question": "who", "answer": ["Ann"]}\n')
    for named in (other, tmp_path):
        with pytest.raises(WholeGPTError, match="the test part of lambada is missing"):
            evalsets.find("lambada", named)
    assert evalsets.find("natural-questions", other).label == "not the paper's data (n = 1)"


def test_parts(tmp_path):
    put(tmp_path / "NQ-open.train.jsonl", '{"question": "who", "answer": ["Ann"]}\n')
    assert evalsets.find("natural-questions", tmp_path, part="train").part == "train"
    with pytest.raises(UsageError, match="natural-questions has no part test, but validation, train"):
        evalsets.find("natural-questions", tmp_path, part="test")
    with pytest.raises(UsageError, match="lambda is no test set; did you mean lambada"):
        evalsets.find("lambda")


def test_pairs_of_files(tmp_path):
    put(tmp_path / "wmt14" / "STANDIN-x.en.gz", "One.\nTwo.\n")
    french = put(tmp_path / "wmt14" / "STANDIN-x.fr", "Un.\nDeux.\n")
    for named in (tmp_path, french):
        found = evalsets.find("wmt14", named)
        assert [file.name for file in found.files] == ["STANDIN-x.en", "STANDIN-x.fr"]
        assert (found.part, found.label) == ("en-fr", "not the paper's data (n = 2)")
    put(tmp_path / "wmt14" / "newstest2014.en", "One.\n")
    put(tmp_path / "wmt14" / "newstest2014.fr", "Un.\n")
    assert evalsets.find("wmt14", tmp_path).files[1].name == "newstest2014.fr"


def test_stories(tmp_path):
    put(tmp_path / "cnndm" / "stories" / "a.story", "Text.\n\n@highlight\n\nShort\n")
    found = evalsets.find("cnn-dailymail", tmp_path)
    assert (found.examples[0].id, found.label) == ("a", "not the paper's data (n = 1)")


def test_tails_are_counted_in_bytes(tmp_path):
    put(tmp_path / "enwik8" / "head.xml", "<mediawiki>")
    assert evalsets.find("enwik8", tmp_path).label == "not the paper's data (n = 11 bytes)"
    put(tmp_path / "enwik8" / "empty.jsonl", "")
    with zipfile.ZipFile(tmp_path / "enwik8.zip", "w") as archive:
        archive.writestr("enwik8", "abc")
    assert evalsets.find("enwik8", tmp_path / "enwik8.zip").counts["bytes"] == 3


def test_download(home, monkeypatch):
    """What comes is read; what is not the set after all is said."""
    contents = [LINES, LINES + LINES]

    def fetch(name: str, offline: bool) -> Path:
        assert (name, offline) == ("eval/lambada", False)
        return put(home / name / "lambada_test.jsonl", contents.pop(0)).parent

    monkeypatch.setattr(finding.places, "fetch", fetch)
    assert evalsets.find("lambada").origin == "download"
    (home / "eval" / "lambada" / "lambada_test.jsonl").unlink()
    with pytest.raises(WholeGPTError, match=r"does not hold the test part of lambada \(.*has 6 examples, the set 3"):
        evalsets.find("lambada")


def parts() -> list[tuple[str, str, Part]]:
    return [(name, part, which) for name, variants in SETS.items() for part, which in variants.items()]


def test_definitions_and_sources_belong_together():
    for name, part, which in parts():
        source = SOURCES[which.source]
        assert ALIASES[name] == which.source or part == "raw"
        official = {file.name for host in source.hosts for file in host.files}
        readable = {
            file
            for layout in which.layouts
            for wanted in layout.wanted
            for file in (wanted.name, *(archive for archive, _ in wanted.archives))
        }
        assert official & readable, name
        assert which.counts["examples"] > 0
        assert set(source.unpacked) <= {
            wanted.name for _, _, other in parts() if other.source == which.source
            for layout in other.layouts for wanted in layout.wanted
        }  # fmt: skip


def test_the_documentation_names_every_set_and_file():
    page = (Path(__file__).parents[2] / "docs" / "evaluation-data.md").read_text(encoding="utf-8")
    for name, _, which in parts():
        assert f"`{name}`" in page
        assert {f"`{file.name}`" in page for host in SOURCES[which.source].hosts for file in host.files} == {True}
        assert {host.address in page for host in SOURCES[which.source].hosts} == {True}
        assert all(f"`{wanted.name}`" in page for layout in which.layouts for wanted in layout.wanted)


# What the README of the staged data says of each set.
STAGED = [
    ("wikitext2", "raw", {"lines": 4_358, "words": 241_211, "bytes": 1_290_590, "unknown": 0}),
    ("wikitext2", "test", {"lines": 4_358, "words": 245_569 - 4_358, "bytes": 1_256_449, "unknown": 15_218}),
    ("wikitext2", "validation", {"lines": 3_760, "words": 217_646 - 3_760, "bytes": 1_121_681}),
    ("wikitext103", "test", {"lines": 4_358, "words": 245_569 - 4_358, "bytes": 1_281_077, "unknown": 2_492}),
    ("wikitext103", "validation", {"lines": 3_760, "words": 217_646 - 3_760, "bytes": 1_142_309, "unknown": 1_657}),
    ("ptb", "test", {"examples": 3_761, "words": 78_669, "bytes": 449_945, "unknown": 4_794}),
    ("ptb", "validation", {"examples": 3_370, "words": 70_390, "bytes": 399_782}),
    ("lm1b", "test", {"examples": 6_075, "words": 153_583, "bytes": 829_492}),
    ("winograd", "test", {"examples": 273}),
    ("natural-questions", "validation", {"examples": 3_610}),
]


@pytest.mark.parametrize(("name", "part", "counts"), STAGED)
def test_real_sets(shared, monkeypatch, name, part, counts):
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(shared))
    found = evalsets.find(name, part=part)
    assert (found.origin, found.label) == ("mirror", "")
    assert {key: found.counts[key] for key in counts} == counts
    readme = (shared / "eval" / "README.md").read_text(encoding="utf-8")
    for key, count in counts.items():
        written = count + counts["lines"] if key == "words" and name.startswith("wikitext") else count
        assert f"{written:,}" in readme or key == "unknown", key


def test_real_lambada(shared, monkeypatch):
    monkeypatch.setitem(SETS, "lambada", LAMBADA)
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(shared))
    found = evalsets.find("lambada")
    assert (found.origin, found.label, len(found.examples)) == ("mirror", "", 5_153)


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("cbt-cn", "1"),
        ("cbt-ne", "1"),
        ("coqa", "1"),
        ("cnn-dailymail", "100"),
        ("wmt14", "1,000"),
        ("enwik8", "100,001 bytes"),
        ("text8", "984,218 bytes"),
    ],
)
def test_real_stand_ins(shared, monkeypatch, name, n):
    """Taken only where they are named."""
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(shared))
    with pytest.raises(WholeGPTError, match=re.escape(f"part of {name} is missing")):
        evalsets.find(name)
    assert evalsets.find(name, shared).label == f"not the paper's data (n = {n})"

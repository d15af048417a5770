"""The split into a training and a held-out part: by text alone, nothing lost, nothing on both sides."""

import json

import pytest

from wholegpt import documents
from wholegpt.artifact import read_manifest
from wholegpt.corpus.build import BuildOptions, build
from wholegpt.documents import HELD_OUT, TRAIN
from wholegpt.errors import UsageError, WholeGPTError


def split(folder, texts, name="corpus", **fields):
    """The texts of both parts after building a corpus from these texts in this order."""
    source = folder / f"{name}.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    build(BuildOptions((str(source),), folder / name, **fields))
    return {part: [d.text for d in documents.read(folder / name, part)] for part in (TRAIN, HELD_OUT)}


def test_the_fraction_is_about_right(tmp_path):
    parts = split(tmp_path, [f"document {number}" for number in range(3000)])
    # 3000 x 0.05 = 150 expected, standard deviation sqrt(3000 x 0.05 x 0.95) = 12: four of them either way.
    assert 102 <= len(parts[HELD_OUT]) <= 198
    assert len(parts[TRAIN]) + len(parts[HELD_OUT]) == 3000


def test_it_depends_on_text_and_seed_alone(tmp_path):
    texts = [f"document {number}" for number in range(300)]
    parts = split(tmp_path, texts)
    backwards = split(tmp_path, texts[::-1], "backwards")
    assert {part: sorted(found) for part, found in parts.items()} == {p: sorted(f) for p, f in backwards.items()}
    fewer = split(tmp_path, texts[:200], "fewer")
    assert set(fewer[HELD_OUT]) == set(parts[HELD_OUT]) & set(texts[:200])
    assert split(tmp_path, texts, "other", seed=1) != parts


@pytest.mark.parametrize("texts", [["a", "b", "c"] * 2, ["a"] * 9 + ["b"], [f"{n}" for n in range(200)] * 2])
def test_copies_are_on_one_side(tmp_path, texts):
    parts = split(tmp_path, texts)
    assert not set(parts[TRAIN]) & set(parts[HELD_OUT])
    assert sorted(parts[TRAIN] + parts[HELD_OUT]) == sorted(set(texts))  # of copies one stays


def test_copies_of_long_documents_are_on_one_side(tmp_path):
    long = "\n\n".join(f"paragraph {number}" for number in range(20))
    parts = split(tmp_path, [long, long], passage_characters=20, held_out=1e-9)
    held, kept = ("\n\n".join(parts[part]).split("\n\n") for part in (HELD_OUT, TRAIN))
    assert held
    assert not set(held) & set(kept)


def test_the_last_resort_does_not_depend_on_the_order(tmp_path):
    texts = ["one", "two", "three", "four"]
    parts = split(tmp_path, texts, held_out=1e-9)
    assert len(parts[HELD_OUT]) == 1
    assert split(tmp_path, texts[::-1], "backwards", held_out=1e-9)[HELD_OUT] == parts[HELD_OUT]


def test_a_long_document_is_held_out_by_passage(tmp_path):
    text = "\n\n".join(f"Paragraph {number} of a book." for number in range(200))
    parts = split(tmp_path, [text], passage_characters=50)
    held, kept = "\n\n".join(parts[HELD_OUT]), "\n\n".join(parts[TRAIN])
    # 200 paragraphs by two to a passage: 100 passages, 5 expected, standard deviation 2.2.
    assert 1 <= held.count("Paragraph") / 2 <= 14
    assert sorted(held.split("\n\n") + kept.split("\n\n")) == sorted(text.split("\n\n"))
    ids = [document.id for part in (TRAIN, HELD_OUT) for document in documents.read(tmp_path / "corpus", part)]
    assert all(identifier.startswith("corpus.jsonl:1#") for identifier in ids)
    assert len(set(ids)) == len(ids)


def test_no_character_but_line_ends_is_lost(tmp_path):
    text = "".join(f"  line {number}\té \n" + "\n" * (number % 3) for number in range(300))
    split(tmp_path, [text], passage_characters=60)
    pieces = [document for part in (TRAIN, HELD_OUT) for document in documents.read(tmp_path / "corpus", part)]
    pieces.sort(key=lambda document: int(document.id.rpartition("#")[2].split("-")[0]))
    assert "".join(piece.text for piece in pieces).replace("\n", "") == text.replace("\n", "")


def test_something_is_held_out_of_a_tiny_text(tmp_path):
    parts = split(tmp_path, ["first", "second"])
    assert (len(parts[TRAIN]), len(parts[HELD_OUT])) == (1, 1)


def test_one_short_text_cannot_be_split(tmp_path):
    with pytest.raises(WholeGPTError, match="too short to hold a part of it out: the train part would be empty"):
        split(tmp_path, ["one short text"])
    assert not (tmp_path / "corpus").exists()
    assert len(split(tmp_path, ["one", "two"])[HELD_OUT]) == 1  # other input may begin anew


def test_counts_are_those_of_a_recount(tmp_path):
    parts = split(tmp_path, [f"número {number}, 東京" for number in range(100)])
    assert read_manifest(tmp_path / "corpus")["counts"] == {
        part: {
            "documents": len(texts),
            "characters": len("".join(texts)),
            "bytes": len("".join(texts).encode()),
            "words": len(" ".join(texts).split()),
        }
        for part, texts in parts.items()
    }


def test_blank_documents_are_left_out(tmp_path):
    parts = split(tmp_path, ["one", " \n\t", "", "two"])
    assert sorted(parts[TRAIN] + parts[HELD_OUT]) == ["one", "two"]


def test_fields_are_kept(tmp_path):
    lines = [{"text": f"text {n}", "id": f"i{n}", "url": f"u{n}", "karma": n} for n in range(50)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    build(BuildOptions((str(tmp_path / "a.jsonl"),), tmp_path / "corpus"))
    found = [document for part in (TRAIN, HELD_OUT) for document in documents.read(tmp_path / "corpus", part)]
    assert sorted((d.id, d.url, d.metadata["karma"]) for d in found) == sorted((f"i{n}", f"u{n}", n) for n in range(50))


def test_several_inputs_of_several_kinds(tmp_path):
    (tmp_path / "a.txt").write_text("a text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.txt").write_text("b text")
    build(BuildOptions((str(tmp_path / "a.txt"), str(tmp_path / "folder"), "builtin:python"), tmp_path / "corpus"))
    found = {document.id for part in (TRAIN, HELD_OUT) for document in documents.read(tmp_path / "corpus", part)}
    assert {"a.txt", "b.txt", "python-lambda"} <= found


def test_a_second_build_does_nothing_and_a_changed_text_is_noticed(tmp_path):
    split(tmp_path, ["one", "two"])
    before = read_manifest(tmp_path / "corpus")
    split(tmp_path, ["one", "two"])
    assert read_manifest(tmp_path / "corpus") == before
    with pytest.raises(WholeGPTError, match="from other input"):
        split(tmp_path, ["one", "three"])


def test_any_seed_will_do(tmp_path):
    for seed in (-1, 2**64):
        split(tmp_path, ["one", "two"], f"corpus{seed}", seed=seed)


@pytest.mark.parametrize("fields", [{"held_out": 0.0}, {"held_out": 1.0}, {"passage_characters": 0}])
def test_wrong_options(tmp_path, fields):
    with pytest.raises(UsageError, match=f"--{next(iter(fields)).replace('_', '-')} is"):
        BuildOptions(("x.txt",), tmp_path, **fields)


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(WholeGPTError, match=r"gone\.txt does not exist"):
        build(BuildOptions((str(tmp_path / "gone.txt"),), tmp_path / "corpus"))
    with pytest.raises(WholeGPTError, match="builtin:odyssey is no built-in text"):
        build(BuildOptions(("builtin:odyssey",), tmp_path / "corpus"))

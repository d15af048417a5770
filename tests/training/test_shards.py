"""`wholegpt shards`: what is written, which documents are held out, and that nothing but time is lost by a kill."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from wholegpt import artifact, documents
from wholegpt.artifact import STATE, read_manifest
from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.bpe import BYTES, END_OF_TEXT
from wholegpt.training import shard_files, shards
from wholegpt.training.shard_files import VAL, ShardWriter
from wholegpt.training.shards import Position, ShardsOptions, Source, build
from wholegpt.training.tokens import Tokens


def random_texts(number: int, seed: int = 0) -> list[str]:
    numbers = random.Random(seed)
    return ["".join(numbers.choices("ab  c'é\n\x1c1中", k=numbers.randint(0, 400))) for _ in range(number)]


def write_jsonl(path: Path, texts: list[str]) -> None:
    content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    wrap = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(wrap(content))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.bin")}


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory) -> str:
    """The tokenizer of the tests as a directory."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder of 600 documents in five files of four formats."""
    folder = tmp_path_factory.mktemp("inputs")
    texts = random_texts(600)
    write_jsonl(folder / "a.jsonl", texts[:150])
    write_jsonl(folder / "b.jsonl.gz", texts[150:300])
    write_jsonl(folder / "c.jsonl.zst", texts[300:450])
    parquet.write_table(pyarrow.table({"text": texts[450:599]}), folder / "d.parquet")
    (folder / "e.txt").write_text("the last " + texts[599], encoding="utf-8", newline="")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(inputs, saved, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "shards"
    build(ShardsOptions(inputs, output, saved, shard_tokens=20_000))
    return output


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_shards_of_llmc_and_nanogpt_are_written_to_the_byte(fixtures, gpt2, tmp_path, threads):
    folder = fixtures / "shards"
    source, facts = folder / "docs.jsonl", json.loads((folder / "expected.json").read_text())
    texts = [json.loads(line)["text"] for line in source.read_text().splitlines()]
    counts = shards.write(tmp_path, [Source(source, VAL)], gpt2, ShardsOptions(source, tmp_path), threads)
    assert (tmp_path / "val_000000.bin").read_bytes() == (folder / "llmc_val_000000.bin").read_bytes()
    assert counts["val"] == {
        "documents": facts["documents"],
        "tokens": facts["llmc_tokens"],
        "bytes": sum(len(text.encode()) for text in texts),
        "words": sum(len(text.split()) for text in texts),
    }
    (tmp_path / "nanogpt").mkdir()
    options = ShardsOptions(source, tmp_path, format="nanogpt")
    shards.write(tmp_path / "nanogpt", [Source(source, "train")], gpt2, options, threads)
    assert (tmp_path / "nanogpt" / "train.bin").read_bytes() == (folder / "nanogpt_train.bin").read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_same_bytes_by_any_number_of_threads(inputs, uninterrupted, tokenizer, tmp_path, monkeypatch, threads):
    monkeypatch.setattr(shards, "BATCH_CHARACTERS", 1000)
    options = ShardsOptions(inputs, tmp_path, shard_tokens=20_000)
    counts = shards.write(tmp_path, shards.sources(options), tokenizer, options, threads)
    assert contents(tmp_path) == contents(uninterrupted)
    assert counts == read_manifest(uninterrupted)["counts"]


@pytest.mark.parametrize("form", ["llm.c", "nanogpt"])
def test_documents_of_any_format_by_part(inputs, saved, tokenizer, tmp_path, form):
    options = ShardsOptions(inputs, tmp_path / "shards", saved, held_out=0.2, seed=5, format=form, shard_tokens=9000)
    build(options)
    texts = {"train": [], "val": []}
    for document in documents.read(inputs):
        texts["val" if documents.share(document.text, 5) < 0.2 else "train"].append(document.text)
    assert 80 < len(texts["val"]) < 160
    for part, expected in texts.items():
        found = Tokens(tmp_path / "shards", part, tokenizer.vocab_size)
        marked = [[tokenizer.eot, *tokenizer.encode_ordinary(text)] for text in expected]
        flat = [index for ids in marked for index in ids]
        assert found.read(0, len(found)).tolist() == (flat if form == "llm.c" else [*flat[1:], tokenizer.eot])
        assert read_manifest(tmp_path / "shards")["counts"][part] == {
            "documents": len(expected),
            "tokens": len(flat),
            "bytes": sum(len(text.encode()) for text in expected),
            "words": sum(len(text.split()) for text in expected),
        }
        sizes = [len(shard_files.read(path, 300)) for path in shard_files.find(tmp_path / "shards", part)]
        assert form == "nanogpt" or set(sizes[:-1]) <= {9000}


def test_copies_are_never_on_both_sides(saved, tokenizer, tmp_path):
    texts = [f"text {number % 40}" for number in range(400)]
    write_jsonl(tmp_path / "a.jsonl", texts)
    build(ShardsOptions(tmp_path / "a.jsonl", tmp_path / "shards", saved, held_out=0.3))
    sides = [
        {tuple(ids) for ids in Tokens(tmp_path / "shards", part, 300).documents(tokenizer.eot)}
        for part in ("train", "val")
    ]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 40


def test_a_corpus_keeps_its_parts(run, tmp_path):
    corpus, tokenizer = run.parent / "corpus", str(run.parent / "tokenizer")
    assert [(source.path.name, source.part) for source in shards.sources(ShardsOptions(corpus, tmp_path))] == [
        ("part-00000.parquet", "train"), ("heldout-00000.parquet", "val"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="has its held-out part already: leave out --held-out and --seed"):
        build(ShardsOptions(corpus, tmp_path / "shards", tokenizer, held_out=0.1))
    assert not (tmp_path / "shards.partial").exists()


@pytest.mark.parametrize(("entries", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_large_vocabularies_take_four_bytes(run, tmp_path, entries, dtype):
    large = [bytes([byte]) for byte in BYTES] + [b"unused %d" % number for number in range(entries - 257)]
    (tmp_path / "tokenizer").mkdir()
    Tokenizer([*large, END_OF_TEXT.encode()], [], {END_OF_TEXT: entries - 1}).save(tmp_path / "tokenizer")
    build(ShardsOptions(run.parent / "corpus", tmp_path / "shards", str(tmp_path / "tokenizer")))
    found = shard_files.read(tmp_path / "shards" / "val_000000.bin", entries)
    assert found.dtype == dtype
    assert found[0] == entries - 1


@pytest.mark.parametrize("entries", [65_536, 65_537])
def test_what_nanogpts_files_can_hold(inputs, tmp_path, entries):
    large = [bytes([byte]) for byte in BYTES] + [b"unused %d" % number for number in range(entries - 257)]
    tokenizer = Tokenizer([*large, END_OF_TEXT.encode()], [], {END_OF_TEXT: entries - 1})
    options = ShardsOptions(inputs, tmp_path, "large", format="nanogpt")
    if entries > 65_536:
        with pytest.raises(WholeGPTError, match="large has 65537 entries, nanoGPT's files hold 65,536"):
            shards.write(tmp_path, shards.sources(options), tokenizer, options)
        return
    shards.write(tmp_path, shards.sources(options), tokenizer, options)
    assert Tokens(tmp_path, "val", entries).read(0, 1).tolist() != [65_535]
    assert (tmp_path / "val.bin").read_bytes().endswith(b"\xff\xff")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"held_out": 0.0}, "--held-out is 0.0"),
        ({"held_out": 1.0}, "--held-out is 1.0"),
        ({"shard_tokens": 0}, "--shard-tokens is 0"),
        ({"shard_tokens": 2**31}, "--shard-tokens is 2147483648, expected 1 to 2147483647"),
    ],
)
def test_wrong_options(options, fault):
    with pytest.raises(UsageError, match=fault):
        ShardsOptions(Path("a"), Path("b"), **options)


def test_too_few_documents_to_hold_one_out(saved, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ["one", "two", "three"])
    with pytest.raises(WholeGPTError, match=r"no document of .*a\.jsonl fell to the val part \(1% are held out\)"):
        build(ShardsOptions(tmp_path / "a.jsonl", tmp_path / "shards", saved, held_out=0.01))
    assert not (tmp_path / "shards").exists()
    held_out = sorted(documents.share(text, 0) for text in ("one", "two", "three"))[1]
    build(ShardsOptions(tmp_path / "a.jsonl", tmp_path / "shards", saved, held_out=held_out))
    assert read_manifest(tmp_path / "shards")["counts"]["val"]["documents"] == 1


class Killed(BaseException):
    """Stands for a kill: no code of ours catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Let the work end at one of the moments at which it touches its files; returns the moments that were passed."""
    passed: list[str] = []

    def interrupted(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def method(self, *arguments):
            passed.append(name)
            if len(passed) == moment + 1:
                if name == "write":  # half of it is written already
                    original(self, arguments[0][: len(arguments[0]) // 2])
                if name == "_finish":
                    self._stream.close()
                raise Killed
            return original(self, *arguments)

        monkeypatch.setattr(kind, name, method)

    for kind, name in ((ShardWriter, "write"), (ShardWriter, "sync"), (ShardWriter, "_finish"), (Position, "save")):
        interrupted(kind, name)
    return passed


@pytest.mark.parametrize("form", ["llm.c", "nanogpt"])
def test_stopped_at_every_moment_and_resumed(inputs, tokenizer, tmp_path, monkeypatch, form):
    monkeypatch.setattr(shards, "SECONDS_BETWEEN_SAVES", 0)
    monkeypatch.setattr(shards, "BATCH_CHARACTERS", 40_000)
    options = ShardsOptions(inputs, tmp_path, format=form, shard_tokens=40_000)

    def write(name: str, threads: int) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
        (tmp_path / name).mkdir(exist_ok=True)
        counts = shards.write(tmp_path / name, shards.sources(options), tokenizer, options, threads)
        return contents(tmp_path / name), counts

    expected = write("whole", 1)
    moment = 0
    while True:
        with monkeypatch.context() as context:
            passed = kill_at(context, moment)
            try:
                write(str(moment), 1)
            except Killed:
                assert len(passed) == moment + 1
            else:
                break
        assert write(str(moment), 2) == expected, passed
        moment += 1
    assert moment == len(passed) > 20


def test_what_is_done_is_not_done_again(inputs, saved, uninterrupted, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shards, "SECONDS_BETWEEN_SAVES", 0)
    monkeypatch.setattr(shards, "BATCH_CHARACTERS", 2000)
    options = ShardsOptions(inputs, tmp_path / "shards", saved, shard_tokens=20_000)
    read: list[str] = []

    def reading(path: Path):
        read.append(path.name)
        if path.name == "d.parquet" and len(read) < 5:
            raise KeyboardInterrupt
        return original(path)

    original = documents.read
    monkeypatch.setattr(documents, "read", reading)
    with pytest.raises(Interrupted, match="the same command goes on where it was"):
        build(options)
    kept = artifact.read_json(tmp_path / "shards.partial" / STATE / "position.json")
    assert (kept["source"], read) == (2, ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.parquet"])
    build(options)
    assert read[4:] == ["c.jsonl.zst", "d.parquet", "e.txt"]
    done = sum(counts["tokens"] for counts in kept["counts"].values())
    assert f"going on after {done:,} tokens, in file 3 of 5" in capsys.readouterr().err
    assert contents(tmp_path / "shards") == contents(uninterrupted)


def test_an_unfinished_work_of_other_options_is_not_continued(inputs, saved, tmp_path, monkeypatch):
    options = ShardsOptions(inputs, tmp_path / "shards", saved)
    with monkeypatch.context() as context:
        kill_at(context, 3)
        with pytest.raises(Killed):
            build(options)
    with pytest.raises(WholeGPTError, match=r"unfinished run made otherwise \(seed was 0, now 1"):
        build(ShardsOptions(inputs, tmp_path / "shards", saved, seed=1))
    build(ShardsOptions(inputs, tmp_path / "shards", saved, seed=1, overwrite=True))
    assert not (tmp_path / "shards.partial").exists()


SLOWLY = (
    "import sys; from wholegpt.training import shards; shards.SECONDS_BETWEEN_SAVES = 0; "
    "shards.BATCH_CHARACTERS = 500; from wholegpt.cli import run; sys.exit(run(sys.argv[1:]))"
)


def test_killed_at_random_moments(inputs, saved, uninterrupted, tmp_path):
    """Until the work is done, by a process at a time; it dies some time after its first step ahead."""
    numbers, output, kills = random.Random(), tmp_path / "shards", 0
    words = ["shards", str(inputs), "-o", str(output), "--tokenizer", saved, "--shard-tokens", "20000"]
    position = tmp_path / "shards.partial" / STATE / "position.json"
    while kills < 4:
        before = position.read_bytes() if position.exists() else b""
        process = subprocess.Popen([sys.executable, "-c", SLOWLY, *words], stderr=subprocess.PIPE)
        while process.poll() is None and not (position.exists() and position.read_bytes() != before):
            time.sleep(0.001)
        time.sleep(numbers.uniform(0, 0.03))
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    assert kills > 1
    build(ShardsOptions(inputs, output, saved, shard_tokens=20_000))
    assert contents(output) == contents(uninterrupted)
    assert read_manifest(output)["counts"] == read_manifest(uninterrupted)["counts"]

"""Token shards read back as one sequence, and the tokenizer that they belong to."""

import numpy as np
import pytest

from wholegpt import documents
from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import Tokenizer
from wholegpt.training import shard_files, tokens
from wholegpt.training.tokens import Tokens, bytes_per_token, tokenizer_of


def write(folder, part, ids, dtype=np.uint16):
    shard_files.write(folder / f"{part}_000000.bin", np.array(ids, dtype))


def test_files_read_as_one_sequence(tmp_path):
    everything = np.array([0, 5, 6, 0, 7, 0, 8, 9, 9], np.uint16)
    for index, (start, stop) in enumerate(((0, 2), (2, 5), (5, 9))):
        shard_files.write(tmp_path / f"train_{index:06d}.bin", everything[start:stop])
    found = Tokens(tmp_path, "train", 10)
    for start in range(9):
        for length in range(10 - start):
            assert np.array_equal(found.read(start, length), everything[start : start + length])
    with pytest.raises(IndexError):
        found.read(5, 5)
    assert list(found.documents(eot=0)) == [[5, 6], [7], [8, 9, 9]]
    assert found.counts(10).tolist() == [3, 0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_documents_of_nanogpt_end_in_their_mark(tmp_path):
    (tmp_path / "val.bin").write_bytes(np.array([5, 6, 0, 7, 0], "<u2").tobytes())
    assert list(Tokens(tmp_path, "val", 10).documents(eot=0)) == [[5, 6], [7]]


def test_tokens_come_back_as_the_corpus(run):
    tokenizer = Tokenizer.load(run.parent / "shards")
    for part, name in (("train", "train"), ("heldout", "val")):
        texts = [document.text for document in documents.read(run.parent / "corpus", part)]
        found = Tokens(run.parent / "shards", name, tokenizer.vocab_size).documents(tokenizer.eot)
        assert [tokenizer.decode(ids) for ids in found] == texts


def test_a_token_outside_the_vocabulary(tmp_path):
    write(tmp_path, "train", [1, 10])
    assert len(Tokens(tmp_path, "train", 11)) == 2
    with pytest.raises(WholeGPTError, match="holds token 10, outside the vocabulary of 10"):
        Tokens(tmp_path, "train", 10)


def test_the_tokenizer_beside_the_shards(run):
    found = tokenizer_of(run.parent / "shards")
    assert found.vocabulary == Tokenizer.load(run.parent / "tokenizer").vocabulary


def test_without_a_tokenizer_it_is_gpt2s(tmp_path, gpt2, capsys):
    write(tmp_path, "fineweb_train", [50256, 15496, 995])
    write(tmp_path, "fineweb_val", [50256])
    assert tokenizer_of(tmp_path).vocabulary == gpt2.vocabulary
    assert "no tokenizer beside its shards: they are read as GPT-2's (largest id 50256)" in capsys.readouterr().err
    assert bytes_per_token(tmp_path, "train", gpt2) == len("Hello world") / 3
    (tmp_path / "fineweb_val_000000.bin").unlink()
    with pytest.raises(WholeGPTError, match="holds no shards of the part val"):
        tokenizer_of(tmp_path)


@pytest.mark.parametrize(("ids", "dtype"), [([50257], np.uint16), ([5], np.uint32)])
def test_tokens_that_are_not_gpt2s_need_a_tokenizer(tmp_path, gpt2, ids, dtype):
    write(tmp_path, "train", [1], dtype)
    write(tmp_path, "val", ids, dtype)
    with pytest.raises(WholeGPTError, match=r"has no tokenizer, and its tokens \(uint\d\d, the largest .* put their"):
        tokenizer_of(tmp_path)
    gpt2.save(tmp_path)
    assert tokenizer_of(tmp_path).vocab_size == 50257


def test_nanogpts_characters_are_no_tokens_of_gpt2(tmp_path):
    for part in ("train", "val"):
        (tmp_path / f"{part}.bin").write_bytes(bytes(range(64)))
    (tmp_path / tokens.CHARACTERS).write_bytes(b"a pickle that nobody opens")
    with pytest.raises(WholeGPTError, match=r"single characters \(meta\.pkl\).*wholegpt shards TEXT"):
        tokenizer_of(tmp_path)


def test_bytes_of_a_token_are_those_that_were_counted(run, tmp_path):
    folder = run.parent / "shards"
    tokenizer = tokenizer_of(folder)
    for part in ("train", "val"):
        for path in shard_files.find(folder, part):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        assert bytes_per_token(tmp_path, part, tokenizer) == bytes_per_token(folder, part, tokenizer) > 1

"""The task `heldout`: it finds the shards of a run and measures exactly their held-out part."""

import math
import shutil

import pytest
import torch

from wholegpt import documents, load
from wholegpt.documents import HELD_OUT
from wholegpt.errors import WholeGPTError
from wholegpt.inference.scoring import text_logprob
from wholegpt.model.gpt import GPT
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot import heldout
from wholegpt.zeroshot.baselines import compressors


def held_out(run):
    return [document.text for document in documents.read(run.parent / "corpus", HELD_OUT)]


def test_finds_the_shards_where_the_manifest_says(run):
    assert heldout.shards_of(run) == run.parent / "shards"


def test_finds_the_shards_beside_a_run_that_was_moved_with_them(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run.parent / "shards", tmp_path / "shards")
    away = run.parent.rename(run.parent.with_name("away"))
    try:
        assert heldout.shards_of(tmp_path / "run") == tmp_path / "shards"
    finally:
        away.rename(run.parent)


def test_other_shards_of_the_same_name_are_not_taken(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run.parent / "corpus", tmp_path / "shards")
    away = run.parent.rename(run.parent.with_name("away"))
    try:
        with pytest.raises(WholeGPTError, match="are gone; give --shards"):
            heldout.shards_of(tmp_path / "run")
    finally:
        away.rename(run.parent)


def test_a_checkpoint_without_a_manifest_is_named(tmp_path):
    with pytest.raises(WholeGPTError, match=r"no manifest\.json"):
        heldout.shards_of(tmp_path)


def test_figures_are_those_of_the_held_out_texts(run):
    model, tokenizer = load(run)
    texts = held_out(run)
    found = heldout.evaluate(model, tokenizer, run.parent / "shards")
    size = sum(len(text.encode()) for text in texts)
    assert found["documents"] == len(texts)
    assert found["bytes"] == size
    assert found["words"] == sum(len(text.split()) for text in texts)
    assert found["tokens"] == sum(len(tokenizer.encode_ordinary(text)) for text in texts)
    nats = -sum(text_logprob(model, tokenizer, tokenizer.encode_ordinary(text)) for text in texts)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, abs=1e-5)
    expected = compressors("".join(texts).encode())
    assert {name: found["baselines"][name] for name in expected} == expected


def test_shards_of_another_tokenizer_are_refused(run, tmp_path):
    """Of as many entries, so that no id is outside; one merge is another."""
    model, tokenizer = load(run)
    shutil.copytree(run.parent / "shards", tmp_path / "shards")
    other = Tokenizer(tokenizer.vocabulary, tokenizer.merges[:-1], tokenizer.special)
    other.save(tmp_path / "shards")
    with pytest.raises(WholeGPTError, match=r"made with another tokenizer \(300 entries\) than the model's \(300\)"):
        heldout.evaluate(model, tokenizer, tmp_path / "shards")


def test_a_model_that_knows_nothing_needs_the_bits_of_its_vocabulary(run):
    trained, tokenizer = load(run)
    uniform = GPT(trained.config).eval()
    with torch.no_grad():
        for parameter in uniform.parameters():
            parameter.zero_()
    found = heldout.evaluate(uniform, tokenizer, run.parent / "shards")
    expected = math.log2(300) * found["tokens"] / found["bytes"]
    assert found["bits_per_byte"] == pytest.approx(expected, abs=1e-5)
    assert found["token_perplexity"] == pytest.approx(300, abs=0.01)
    # The baseline does not spread over <|endoftext|>: 299 entries.
    assert found["baselines"]["uniform"] == pytest.approx(expected * math.log(299) / math.log(300), abs=1e-5)

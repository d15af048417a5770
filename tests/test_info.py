"""`wholegpt info`: what is said of each kind of path is what its maker knows."""

import json

import pytest

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.info import InfoOptions, describe, info
from wholegpt.model import checkpoint
from wholegpt.model.exchange import TARGETS, ConvertOptions, convert
from wholegpt.model.gpt import parameter_count
from wholegpt.zeroshot.evaluate import EvaluateOptions, evaluate


def test_a_run(run, capsys):
    facts = describe(run)
    model, tokenizer = checkpoint.load(run)
    assert facts["kind"] == "model"
    assert facts["parameters"] == parameter_count(model)
    assert (facts["context_tokens"], facts["vocabulary"], facts["dtype"]) == (32, tokenizer.vocab_size, "float32")
    assert (facts["from"], facts["steps"]) == ("wholegpt train", 8)
    assert facts["sha256"]["model.safetensors"] == artifact.sha256(run / "model.safetensors")
    info(InfoOptions(run, json=True))
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(facts))
    info(InfoOptions(run))
    printed = capsys.readouterr().out
    assert "Hugging Face" in printed
    assert f"{facts['parameters']:,}" in printed


@pytest.mark.parametrize("to", TARGETS)
def test_formats(run, tmp_path, to):
    convert(ConvertOptions(str(run), to, tmp_path / to))
    facts = describe(tmp_path / to)
    names = {"hf": "Hugging Face", "gguf": "GGUF", "nanogpt": "nanoGPT", "llmc": "llm.c"}
    assert facts["format"] == names[to]
    assert facts["parameters"] == describe(run)["parameters"]
    assert facts["activation"] == ("gelu" if to == "nanogpt" else "gelu_tanh")
    assert facts["from"] == "wholegpt convert"


def test_the_other_artifacts(run, tmp_path):
    tokenizer = describe(run.parent / "tokenizer")
    assert (tokenizer["kind"], tokenizer["vocabulary"], tokenizer["format"]) == ("tokenizer", 300, "tokenizer.json")
    shards = describe(run.parent / "shards")
    counts = artifact.read_manifest(run.parent / "shards")["counts"]
    assert shards["tokens"] == {f"{part}_000000.bin": counts[part]["tokens"] for part in ("train", "val")}
    assert describe(run.parent / "shards" / "val_000000.bin")["dtype"] == "uint16"
    corpus = describe(run.parent / "corpus")
    counts = artifact.read_manifest(run.parent / "corpus")["counts"]
    assert corpus["documents"] == sum(counts[part]["documents"] for part in ("train", "heldout"))
    evaluate(EvaluateOptions(run, tmp_path / "results"))
    results = describe(tmp_path / "results")
    assert results["results"] == json.loads((tmp_path / "results" / "heldout.json").read_text())["results"]


def test_a_size_of_the_paper(tmp_path):
    import torch

    from wholegpt.model.gpt import GPT, GPTConfig

    with torch.device("meta"):
        model = GPT(GPTConfig(vocab_size=256, n_ctx=8))
    checkpoint.save(tmp_path, model.to_empty(device="cpu"), None)
    assert describe(tmp_path)["size"] == "gpt2"


def test_what_holds_nothing(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"png")
    for path in (tmp_path, tmp_path / "picture.png"):
        with pytest.raises(WholeGPTError, match="holds neither a model, nor a tokenizer"):
            describe(path)
    with pytest.raises(WholeGPTError, match="does not exist"):
        info(InfoOptions(tmp_path / "nothing"))

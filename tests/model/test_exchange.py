"""`wholegpt convert`: every format out, read again by ours and by others; what would be lost is said."""

import json

import numpy as np
import pytest
import torch
import transformers

from wholegpt.artifact import read_manifest
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.model import checkpoint, exchange
from wholegpt.model.convert import formats
from wholegpt.model.exchange import ConvertOptions, convert
from wholegpt.tokenizer import Tokenizer


@pytest.fixture
def source(model, tokenizer, tmp_path):
    checkpoint.save(tmp_path / "source", model, tokenizer)
    return tmp_path / "source"


def logits(path, **more):
    model, _ = checkpoint.load(path, **more)
    with torch.no_grad():
        return model(torch.arange(32)[None])


@pytest.mark.parametrize(
    ("to", "file", "name"),
    [
        ("hf", "model.safetensors", "Hugging Face"),
        ("gguf", "model.gguf", "GGUF"),
        ("nanogpt", "ckpt.pt", "nanoGPT"),
        ("llmc", "model.bin", "llm.c"),
    ],
)
def test_every_format(source, tmp_path, to, file, name):
    out = tmp_path / to
    convert(ConvertOptions(str(source), to, out))
    assert (out / file).is_file()
    assert formats.recognise(out) == formats.recognise(out / file) == name
    manifest = read_manifest(out)
    assert manifest["counts"]["largest_logit_difference"] <= 1e-6
    assert manifest["counts"]["dtype"] == "float32"
    expected = logits(source)
    assert torch.equal(logits(out, activation="gelu_tanh"), expected) or (logits(out) - expected).abs().max() < 1e-4
    assert checkpoint.load(out)[1].merges == Tokenizer.load(source).merges
    back = tmp_path / "back"
    convert(ConvertOptions(str(out), "hf", back, activation="gelu_tanh"))
    assert (back / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert (back / "config.json").read_bytes() == (source / "config.json").read_bytes()
    assert (back / "vocab.json").read_bytes() == (source / "vocab.json").read_bytes()


@pytest.mark.parametrize(
    ("to", "dtype", "allowed"),
    [
        ("hf", "float16", 0.02),
        ("hf", "bfloat16", 0.1),
        ("gguf", "float16", 0.02),
        ("gguf", "q8_0", 0.1),
        ("llmc", "bfloat16", 0.1),
    ],
)
def test_rounded(source, tmp_path, to, dtype, allowed):
    convert(ConvertOptions(str(source), to, tmp_path / "out", dtype))
    expected = logits(source)
    difference = (logits(tmp_path / "out") - expected).abs().max()
    assert 0 < difference < allowed * expected.std() * 5
    assert read_manifest(tmp_path / "out")["counts"]["dtype"] == dtype


def test_transformers_opens_what_is_written(source, tmp_path, caplog):
    convert(ConvertOptions(str(source), "nanogpt", tmp_path / "nanogpt"))
    convert(ConvertOptions(str(tmp_path / "nanogpt"), "hf", tmp_path / "hf"))
    with caplog.at_level("WARNING"):
        theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", output_loading_info=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert not any(report.values())
    assert not caplog.records
    assert theirs.config.activation_function == "gelu"  # nanoGPT's
    text = "The river, 12 sacks. Où?"
    assert tokenizer(text)["input_ids"] == Tokenizer.load(source).encode(text)
    with torch.no_grad():
        found = theirs.eval()(torch.arange(32)[None]).logits
    torch.testing.assert_close(found, logits(tmp_path / "nanogpt"), atol=1e-4, rtol=0)


def test_another_activation_is_said(source, tmp_path, capsys):
    convert(ConvertOptions(str(source), "nanogpt", tmp_path / "nanogpt"))
    assert "compute gelu, this model gelu_tanh" in capsys.readouterr().err
    convert(ConvertOptions(str(source), "hf", tmp_path / "hf"))
    assert "this model" not in capsys.readouterr().err


def test_the_vocabulary_alone(source, tmp_path):
    convert(ConvertOptions(str(source), "openai-vocab", tmp_path / "vocabulary"))
    names = sorted(file.name for file in (tmp_path / "vocabulary").iterdir())
    assert names == ["encoder.json", "manifest.json", "vocab.bpe"]
    assert Tokenizer.load(tmp_path / "vocabulary").merges == Tokenizer.load(source).merges
    convert(ConvertOptions(str(source), "gguf", tmp_path / "gguf"))
    (tmp_path / "gguf" / "alone.gguf").write_bytes((tmp_path / "gguf" / "model.gguf").read_bytes())
    convert(ConvertOptions(str(tmp_path / "gguf" / "alone.gguf"), "openai-vocab", tmp_path / "again"))
    assert (tmp_path / "again" / "vocab.bpe").read_bytes() == (tmp_path / "vocabulary" / "vocab.bpe").read_bytes()


def test_a_second_call_does_nothing(source, tmp_path, capsys):
    for _ in range(2):
        convert(ConvertOptions(str(source), "llmc", tmp_path / "out"))
    assert "is there already" in capsys.readouterr().err


def test_what_was_written_wrongly_is_not_kept(source, tmp_path, monkeypatch):
    """A writer that mixes two tensors up."""
    target = exchange.TARGETS["hf"]

    def wrong(path, contents, dtype):
        tensors = dict(contents.tensors)
        names = "h.0.attn.c_proj.weight", "h.1.attn.c_proj.weight"
        tensors[names[0]], tensors[names[1]] = tensors[names[1]], tensors[names[0]]
        target.write(path, exchange.Contents(contents.config, tensors, contents.tokenizer), dtype)

    monkeypatch.setitem(exchange.TARGETS, "hf", exchange.Target("", target.dtypes, wrong))
    with pytest.raises(WholeGPTError, match="computes logits that differ by"):
        convert(ConvertOptions(str(source), "hf", tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    convert(ConvertOptions(str(source), "hf", tmp_path / "out", check=False))


@pytest.mark.parametrize(
    ("to", "dtype", "fault"),
    [
        ("onnx", "", "--to is onnx, expected one of hf, gguf, nanogpt, llmc, openai-vocab"),
        ("nanogpt", "float16", "--dtype is float16, but nanogpt has float32"),
        ("hf", "q8_0", "but hf has float32, float16, bfloat16"),
        ("openai-vocab", "float16", "but openai-vocab has no precision"),
    ],
)
def test_wrong_options(tmp_path, to, dtype, fault):
    with pytest.raises(UsageError, match=fault):
        ConvertOptions("x", to, tmp_path, dtype)


def test_a_model_without_a_tokenizer(source, tmp_path):
    for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"):
        (source / name).rename(tmp_path / name)
    assert checkpoint.load(source)[1] is None
    with pytest.raises(WholeGPTError, match="has no tokenizer; name one with --tokenizer"):
        convert(ConvertOptions(str(source), "openai-vocab", tmp_path / "out"))
    with pytest.raises(WholeGPTError, match="tokenizer"):
        convert(ConvertOptions(str(source), "gguf", tmp_path / "out"))
    convert(ConvertOptions(str(source), "gguf", tmp_path / "out", tokenizer=str(tmp_path)))
    convert(ConvertOptions(str(source), "llmc", tmp_path / "bare"))
    assert checkpoint.load(tmp_path / "bare")[1] is None


@pytest.mark.parametrize("name", ["hf-tiny", "hf-bin", "openai-tf-tiny", "nanogpt", "gguf", "trained", "hf-realtok"])
def test_every_fixture_to_every_format(fixtures, tmp_path, name):
    path = fixtures / name / "tiny-F32.gguf" if name == "gguf" else fixtures / name
    more = {"tokenizer": str(fixtures / "hf-tiny")} if name == "nanogpt" else {}
    for to in exchange.TARGETS:
        convert(ConvertOptions(str(path), to, tmp_path / to, **more))
        counts = read_manifest(tmp_path / to)["counts"]
        assert counts["largest_logit_difference"] <= 1e-4
    content = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert content["n_ctx"] == content["n_positions"]


def test_round_trip_of_half_precision(fixtures, tmp_path):
    """Bit for bit, though a CPU computes in float32."""
    convert(ConvertOptions(str(fixtures / "trained"), "hf", tmp_path / "hf"))
    before, after = (formats.read(path).tensors for path in (fixtures / "trained", tmp_path / "hf"))
    assert {tensor.dtype for tensor in after.values()} == {torch.float16}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert np.isfinite(read_manifest(tmp_path / "hf")["counts"]["largest_logit_difference"])

"""Checkpoints: other people's open here with the same logits, ours are bit-exact, broken ones are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from wholegpt.errors import WholeGPTError
from wholegpt.model import checkpoint
from wholegpt.model.convert import huggingface
from wholegpt.model.gpt import GPT, GPTConfig, parameter_count
from wholegpt.tokenizer import Tokenizer


def test_round_trip_is_exact(model, tokenizer, tmp_path):
    checkpoint.save(tmp_path, model, tokenizer)
    again, same = checkpoint.load(tmp_path)
    assert not again.training
    assert (again.config, same.vocabulary, same.merges) == (model.config, tokenizer.vocabulary, tokenizer.merges)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_checkpoint_of_transformers(shared):
    folder = shared / "fixtures" / "hf-tiny"
    model, _ = checkpoint.load(folder)
    expected = np.load(folder / "expected_logits.npz")
    for tokens, logits in (("1", "1"), ("9", "9"), ("40", "40_last8"), ("full", "full_last2")):
        with torch.no_grad():
            found = model(torch.from_numpy(expected[f"tokens_{tokens}"].astype(np.int64))).numpy()
        wanted = expected[f"logits_{logits}"]
        np.testing.assert_allclose(found[:, -wanted.shape[1] :], wanted, atol=2e-4, rtol=0)


def test_faults_in_a_sentence(model, tokenizer, tmp_path):
    with pytest.raises(WholeGPTError, match=r"nothing does not exist; .* released weights: gpt2, gpt2-"):
        checkpoint.load(tmp_path / "nothing")
    tokenizer.save(tmp_path)
    with pytest.raises(WholeGPTError, match="holds no model; expected a Hugging Face or OpenAI directory"):
        checkpoint.load(tmp_path)
    checkpoint.save(tmp_path, model, tokenizer)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-8])
    with pytest.raises(WholeGPTError, match="not a whole safetensors file"):
        checkpoint.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "config.json").write_text('{"n_layer": "many"}')
    with pytest.raises(WholeGPTError, match="not the configuration of a GPT-2"):
        checkpoint.load(tmp_path)


def padded(model, rows):
    """The same model with rows of the vocabulary that stand for nothing."""
    wide = GPT(replace(model.config, vocab_size=model.config.vocab_size + rows)).eval()
    tensors = model.state_dict()
    noise = torch.randn(rows, model.config.n_embd)
    wide.load_state_dict(tensors | {"wte.weight": torch.cat([tensors["wte.weight"], noise])})
    return wide


def test_padding_is_cut_to_the_tokenizer(model, tokenizer, tmp_path):
    checkpoint.save(tmp_path, padded(model, 20), tokenizer)
    found, _ = checkpoint.load(tmp_path)
    assert found.config == model.config
    ids = torch.arange(32)[None]
    with torch.no_grad():
        assert torch.equal(found(ids), model(ids))


def test_padding_is_cut_to_a_size_that_is_given(model, tmp_path):
    checkpoint.save(tmp_path, padded(model, 200), None)
    assert checkpoint.load(tmp_path)[0].config.vocab_size == 500
    assert checkpoint.load(tmp_path, vocab_size=300)[0].config == model.config
    with pytest.raises(WholeGPTError, match="--vocab-size is 501, the model 500"):
        checkpoint.load(tmp_path, vocab_size=501)


def test_more_than_padding_is_not_cut(model, tokenizer, tmp_path):
    checkpoint.save(tmp_path, padded(model, 128), tokenizer)
    with pytest.raises(WholeGPTError, match="has 300 entries, the model 428: they do not belong"):
        checkpoint.load(tmp_path)
    with pytest.raises(WholeGPTError, match="--vocab-size is 428, but the tokenizer has 300"):
        checkpoint.load(tmp_path, vocab_size=428)


def test_the_released_tokenizer_for_its_size(gpt2, tmp_path):
    sizes = {"n_ctx": 8, "n_embd": 4, "n_layer": 1, "n_head": 1}
    checkpoint.save(tmp_path, GPT(GPTConfig(50304, **sizes)), None)
    model, tokenizer = checkpoint.load(tmp_path)
    assert model.config.vocab_size == 50257
    assert tokenizer.merges == gpt2.merges


def test_without_a_tokenizer(model, tokenizer, tmp_path):
    checkpoint.save(tmp_path / "model", model, None)
    assert checkpoint.load(tmp_path / "model")[1] is None
    with pytest.raises(WholeGPTError, match=r"has no tokenizer beside it.* name one with --tokenizer"):
        checkpoint.load_with_tokenizer(tmp_path / "model")
    tokenizer.save(tmp_path / "tokenizer")
    found = checkpoint.load_with_tokenizer(tmp_path / "model", tokenizer=tmp_path / "tokenizer")[1]
    assert found.merges == tokenizer.merges


def test_another_activation(model, tokenizer, tmp_path):
    checkpoint.save(tmp_path, model, tokenizer)
    exact, _ = checkpoint.load(tmp_path, activation="gelu")
    assert exact.config.activation == "gelu"
    ids = torch.arange(32)[None]
    with torch.no_grad():
        assert 0 < (exact(ids) - model(ids)).abs().max() < 0.01
    with pytest.raises(WholeGPTError, match="activation relu is unknown; expected gelu_tanh or gelu"):
        checkpoint.load(tmp_path, activation="relu")


@pytest.mark.parametrize("name", ["gpt2", "124M", "small"])
def test_released_weights_by_name(model, tokenizer, tmp_path, monkeypatch, name):
    """From a mirror; the hashes of what is there are not those of the release."""
    checkpoint.save(tmp_path / "gpt2", model, tokenizer)
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path))
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(WholeGPTError, match=r"is not the file it should be \(sha256"):
        checkpoint.load(name)


def test_weights_of_a_name_without_published_hashes(model, tokenizer, tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "gpt2-medium", model, tokenizer)
    monkeypatch.setenv("WHOLEGPT_MIRROR", str(tmp_path))
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path / "home"))
    found, _ = checkpoint.load("355M")
    assert found.config == model.config
    with torch.no_grad():
        model.wpe.weight += 1
    checkpoint.save(tmp_path / "gpt2-medium", model, tokenizer)
    with pytest.raises(WholeGPTError, match="as recorded in"):
        checkpoint.load("medium")


def test_checkpoint_in_half_precision_with_the_released_vocabulary(fixtures):
    model, tokenizer = checkpoint.load(fixtures / "hf-realtok")
    assert model.wte.weight.dtype == torch.float32
    assert tokenizer.vocab_size == 50257
    expected = np.load(fixtures / "hf-realtok" / "expected_logits.npz")
    for name in ("1", "9", "40", "full"):
        with torch.no_grad():
            found = model(torch.from_numpy(expected[f"tokens_{name}"].astype(np.int64)))[:, -2:]
        wanted = expected[f"logits_{name}_last2"]
        np.testing.assert_allclose(found[..., expected["columns"]].numpy(), wanted, atol=2e-4, rtol=0)
        sums = found.double().logsumexp(-1).numpy()
        np.testing.assert_allclose(sums, expected[f"logsumexp_{name}_last2"], atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", ["hf-tiny", "hf-realtok"])
def test_parameters_are_those_of_the_file(fixtures, name):
    model, _ = checkpoint.load(fixtures / name)
    expected = json.loads((fixtures / name / "parameters.json").read_text())
    assert parameter_count(model) == expected["n_parameters_tied"]
    sums = {huggingface.PREFIX + key: float(p.detach().double().sum()) for key, p in model.named_parameters()}
    assert sums == pytest.approx(expected["sums_float64"], abs=1e-6)


def test_transformers_opens_what_is_written_without_a_word(model, tokenizer, tmp_path, caplog):
    checkpoint.save(tmp_path, model, tokenizer)
    with caplog.at_level("WARNING"):
        other, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert not caplog.records
    assert other.config.eos_token_id == tokenizer.eot
    assert other.get_output_embeddings().weight is other.get_input_embeddings().weight
    ids = torch.arange(32)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids), other.eval()(ids).logits, atol=1e-4, rtol=0)


def test_a_fixture_exported_again_opens_in_transformers(fixtures, tmp_path):
    checkpoint.save(tmp_path, *checkpoint.load(fixtures / "hf-tiny"))
    ids = torch.arange(50)[None]
    with torch.no_grad():
        one, other = (
            transformers.GPT2LMHeadModel.from_pretrained(folder).eval()(ids).logits
            for folder in (tmp_path, fixtures / "hf-tiny")
        )
    assert torch.equal(one, other)


def test_a_run_is_a_checkpoint(run):
    model, tokenizer = checkpoint.load(run)
    assert (model.config.vocab_size, model.config.n_ctx) == (tokenizer.vocab_size, 32)


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_on_request(run, name, dtype):
    model, _ = checkpoint.load(run, "cpu", name)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model(torch.arange(4)[None]).dtype == torch.float32


def test_an_unknown_precision(run):
    with pytest.raises(WholeGPTError, match="dtype float8 is unknown; expected auto, float32"):
        checkpoint.load(run, "cpu", "float8")


@pytest.mark.parametrize("name", ["truncated", "huge-header", "not-a-number-header", "missing-tensor", "wrong-shape"])
def test_broken_weights_are_refused_by_load(fixtures, tokenizer, tmp_path, name):
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((fixtures / "broken-safetensors" / name / file).read_bytes())
    tokenizer.save(tmp_path)
    with pytest.raises(WholeGPTError, match=r"model\.safetensors") as error:
        checkpoint.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_tokenizer_that_does_not_belong_to_the_model(model, tokenizer, tmp_path):
    checkpoint.save(tmp_path, model, tokenizer)
    Tokenizer([*tokenizer.vocabulary[:299], b"x" * 9, b"<a>"], tokenizer.merges, {"<a>": 300}).save(tmp_path)
    with pytest.raises(WholeGPTError, match="the tokenizer has 301 entries, the model 300"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "3", "{}", '{"n_layer": null}', '{"activation_function": "relu"}', '{"n_head": 5}', '{"n_embd": 0}'],
)
def test_a_broken_configuration(model, tokenizer, tmp_path, content):
    checkpoint.save(tmp_path, model, tokenizer)
    path = tmp_path / "config.json"
    whole, change = json.loads(path.read_text()), content
    if content.startswith("{") and len(content) > 2:
        change = json.dumps(whole | json.loads(content))
    path.write_text(change)
    with pytest.raises(WholeGPTError, match=r"config\.json"):
        checkpoint.load(tmp_path)


def test_code_in_a_pickle_is_not_looked_at(fixtures, tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("config.json", "pytorch_model.bin"):
        (tmp_path / file).write_bytes((fixtures / "malicious" / file).read_bytes())
    tokenizer.save(tmp_path)
    with pytest.raises(WholeGPTError):
        checkpoint.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "pytorch_model.bin").read_bytes())
    with pytest.raises(WholeGPTError):
        checkpoint.load(tmp_path)
    assert not (tmp_path / "UNSAFE_PICKLE_RAN").exists()

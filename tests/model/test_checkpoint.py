"""Checkpoints: other people's open here with the same logits, ours are bit-exact, broken ones are refused."""

import numpy as np
import pytest
import torch

from wholegpt.errors import WholeGPTError
from wholegpt.model import checkpoint


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


@pytest.mark.parametrize("kind", ["truncated", "huge-header", "not-a-number-header", "missing-tensor", "wrong-shape"])
def test_broken_weights_are_refused(shared, kind):
    folder = shared / "fixtures" / "broken-safetensors" / kind
    config = checkpoint.read_config(folder / "config.json")
    with pytest.raises(WholeGPTError, match=r"model\.safetensors"):
        checkpoint.read_weights(folder / "model.safetensors", checkpoint.GPT(config))


def test_faults_in_a_sentence(model, tokenizer, tmp_path):
    with pytest.raises(WholeGPTError, match="is no directory"):
        checkpoint.load(tmp_path / "nothing")
    tokenizer.save(tmp_path)
    with pytest.raises(WholeGPTError, match=r"it has no config\.json"):
        checkpoint.load(tmp_path)
    checkpoint.save(tmp_path, model, tokenizer)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-8])
    with pytest.raises(WholeGPTError, match="not a whole safetensors file"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text('{"n_layer": "many"}')
    with pytest.raises(WholeGPTError, match="not the configuration of a GPT-2"):
        checkpoint.load(tmp_path)

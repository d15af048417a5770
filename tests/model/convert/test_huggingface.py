"""Hugging Face's directory: every layout that is met, exactly; what GPT-2 is not is refused by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import formats, huggingface
from wholegpt.model.convert.contents import Contents, shapes
from wholegpt.model.gpt import GPT


@pytest.fixture
def contents(model, tokenizer):
    return Contents(model.config, dict(model.state_dict()), tokenizer)


@pytest.fixture
def written(contents, tmp_path):
    huggingface.write(tmp_path, contents)
    return tmp_path


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def logits(contents, ids):
    model = GPT(contents.config)
    model.load_state_dict(contents.tensors)
    with torch.no_grad():
        return model.eval()(ids)


def test_files_and_round_trip(contents, written):
    names = "config.json generation_config.json merges.txt model.safetensors tokenizer.json tokenizer_config.json"
    assert sorted(file.name for file in written.iterdir()) == [*names.split(), "vocab.json"]
    again = huggingface.read(written)
    assert again.config == contents.config
    assert same(again.tensors, contents.tensors)
    for name in ("float16", "bfloat16"):
        half = {key: tensor.to(getattr(torch, name)) for key, tensor in contents.tensors.items()}
        huggingface.write(written, Contents(contents.config, half))
        assert same(huggingface.read(written).tensors, half)
        assert json.loads((written / "config.json").read_text())["torch_dtype"] == name


def test_config_has_both_names_of_the_context(written):
    content = json.loads((written / "config.json").read_text())
    assert content["n_ctx"] == content["n_positions"] == 32
    assert "lm_head.weight" not in safetensors.torch.load_file(written / "model.safetensors")


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("form", ["safetensors", "shards", "bin", "legacy bin"])
def test_layouts(contents, written, prefix, form):
    tensors = {prefix + name: tensor for name, tensor in contents.tensors.items()}
    tensors |= {
        f"{prefix}h.0.attn.bias": torch.ones(1, 1, 32, 32).tril(),
        f"{prefix}h.0.attn.masked_bias": torch.tensor(-1e4),
    }
    tensors["lm_head.weight"] = contents.tensors["wte.weight"].clone()
    (written / "model.safetensors").unlink()
    if form == "safetensors":
        safetensors.torch.save_file(tensors, written / "model.safetensors")
    elif form == "shards":
        names = sorted(tensors)
        places = {name: f"model-0000{1 + (index > 9)}-of-00002.safetensors" for index, name in enumerate(names)}
        for file in set(places.values()):
            held = {name: tensors[name] for name in names if places[name] == file}
            safetensors.torch.save_file(held, written / file)
        index = {"metadata": {}, "weight_map": places}
        (written / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        torch.save(tensors, written / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")
    assert same(huggingface.read(written).tensors, contents.tensors)
    assert formats.recognise(written) == "Hugging Face"


def test_single_files(contents, written, tmp_path_factory):
    assert same(huggingface.read(written / "model.safetensors").tensors, contents.tensors)
    alone = tmp_path_factory.mktemp("alone")
    shutil.copy(written / "model.safetensors", alone)
    with pytest.raises(WholeGPTError, match=r"a width of 24 does not tell the number of heads; put its config\.json"):
        huggingface.read(alone / "model.safetensors")
    wide = {"wte.weight": torch.zeros(300, 128), "wpe.weight": torch.zeros(16, 128)}
    for layer in range(2):
        for name, shape in {"ln_1": (128,), "ln_2": (128,)}.items():
            wide |= {f"h.{layer}.{name}.{part}": torch.zeros(shape) for part in ("weight", "bias")}
        for name, (inputs, outputs) in {
            "attn.c_attn": (128, 384), "attn.c_proj": (128, 128), "mlp.c_fc": (128, 512), "mlp.c_proj": (512, 128),
        }.items():  # fmt: skip
            wide |= {
                f"h.{layer}.{name}.weight": torch.zeros(inputs, outputs),
                f"h.{layer}.{name}.bias": torch.zeros(outputs),
            }
    wide |= {f"ln_f.{part}": torch.zeros(128) for part in ("weight", "bias")}
    safetensors.torch.save_file(wide, alone / "model.safetensors")
    config = huggingface.read(alone / "model.safetensors").config
    assert (config.n_head, config.n_layer, config.n_ctx, config.vocab_size) == (2, 2, 16, 300)


def test_an_output_of_its_own_is_refused(contents, written):
    tensors = contents.tensors | {"lm_head.weight": contents.tensors["wte.weight"] + 1}
    safetensors.torch.save_file(tensors, written / "model.safetensors")
    with pytest.raises(WholeGPTError, match=r"an output layer of its own \(lm_head\.weight\)"):
        huggingface.read(written)


def test_what_a_gpt2_does_not_have_is_refused(contents, written):
    safetensors.torch.save_file(
        contents.tensors | {"h.0.crossattention.q.weight": torch.ones(1)}, written / "model.safetensors"
    )
    with pytest.raises(WholeGPTError, match=r"holds the tensor 'h\.0\.crossattention"):
        huggingface.read(written)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"model_type": "llama"}, "not the configuration of a GPT-2"),
        ({"activation_function": "relu"}, "activation_function is relu"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"n_inner": 7}, "n_inner is 7, expected 96"),
        ({"n_layer": "2"}, "config.json"),
        ({"n_layer": 2**60}, "config.json"),
        ({"n_layer": 2**30}, "lacks the tensor h.2."),
        ({"n_embd": 2**30, "n_head": 1}, "wte.weight has the shape"),
        ({"layer_norm_epsilon": "small"}, "config.json"),
    ],
)  # fmt: skip
def test_another_mathematics_is_refused(written, change, fault):
    content = json.loads((written / "config.json").read_text()) | change
    (written / "config.json").write_text(json.dumps(content))
    with pytest.raises(WholeGPTError, match=fault):
        huggingface.read(written)


@pytest.mark.parametrize("change", [{"activation_function": "gelu"}, {"layer_norm_epsilon": 0.1}])
def test_settings_that_are_followed(contents, written, change):
    """Against transformers, whose logits change with them, too."""
    content = json.loads((written / "config.json").read_text()) | change
    (written / "config.json").write_text(json.dumps(content))
    theirs = transformers.GPT2LMHeadModel.from_pretrained(written).eval()
    ids = torch.arange(32)[None]
    with torch.no_grad():
        expected = theirs(ids).logits
    torch.testing.assert_close(logits(huggingface.read(written), ids), expected, atol=1e-5, rtol=0)
    assert (logits(contents, ids) - expected).abs().max() > 1e-4


@pytest.mark.parametrize(
    "place", ["../outside.safetensors", "/etc/passwd", "link.safetensors", "nothing.safetensors", "", "."]
)
def test_an_index_stays_in_its_folder(written, tmp_path_factory, place):
    outside = tmp_path_factory.mktemp("elsewhere") / "outside.safetensors"
    shutil.move(written / "model.safetensors", outside)
    shutil.copy(outside, written.parent / "outside.safetensors")
    (written / "link.safetensors").symlink_to(outside)
    names = [name for name, _ in shapes(huggingface.read_config(written / "config.json"))]
    (written / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, place)}))
    with pytest.raises(WholeGPTError) as error:
        huggingface.read(written)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"wte.weight": 3}}'])
def test_a_broken_index(written, content):
    (written / "model.safetensors").rename(written / "other.safetensors")
    (written / "model.safetensors.index.json").write_text(content)
    with pytest.raises(WholeGPTError, match=r"index\.json"):
        huggingface.read(written)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "legacy.bin", "plain.pkl"])
def test_code_in_a_pickle_does_not_run(fixtures, written, tmp_path_factory, monkeypatch, name):
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    (written / "model.safetensors").unlink()
    shutil.copyfile(fixtures / "malicious" / name, written / "pytorch_model.bin")
    with pytest.raises(WholeGPTError, match=r"pytorch_model\.bin"):
        huggingface.read(written)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", ["hf-tiny", "hf-bin"])
def test_fixtures(fixtures, name):
    contents = huggingface.read(fixtures / name)
    expected = np.load(fixtures / name / "expected_logits.npz")
    for tokens, wanted in (("1", "1"), ("9", "9"), ("40", "40_last8"), ("full", "full_last2")):
        found = logits(contents, torch.from_numpy(expected[f"tokens_{tokens}"].astype(np.int64))).numpy()
        theirs = expected[f"logits_{wanted}"]
        np.testing.assert_allclose(found[:, -theirs.shape[1] :], theirs, atol=1e-4, rtol=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.data())
def test_damage_of_any_kind_is_an_error_of_ours_or_harmless(written, data):
    """Random bytes, truncations and flipped bits; a flipped weight is a weight, as the format has no checksums."""
    name = data.draw(st.sampled_from(["model.safetensors", "config.json"]))
    whole = (written / name).read_bytes()
    try:
        (written / name).write_bytes(damaged(whole, data))
        huggingface.read(written)
    except WholeGPTError as error:
        assert "\n" not in str(error)
    finally:
        (written / name).write_bytes(whole)


def damaged(whole, data):
    kind = data.draw(st.sampled_from(["noise", "cut", "flip"]))
    if kind == "noise":
        return data.draw(st.binary(max_size=200))
    place = data.draw(st.integers(0, min(len(whole), 3000) - 1))
    if kind == "cut":
        return whole[:place]
    return whole[:place] + bytes([whole[place] ^ 1 << data.draw(st.integers(0, 7))]) + whole[place + 1 :]

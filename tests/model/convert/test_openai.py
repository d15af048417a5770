"""OpenAI's checkpoints: those of TensorFlow give TensorFlow's logits, others are refused in a sentence."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import openai
from wholegpt.model.gpt import GPT, GPTConfig

CONFIG = GPTConfig(30, n_ctx=8, n_embd=6, n_layer=2, n_head=3)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return GPT(CONFIG)


@pytest.fixture
def folder(tmp_path, writer, model):
    writer.release(tmp_path, model)
    return tmp_path


def refused(path, message):
    with pytest.raises(WholeGPTError, match=message) as caught:
        openai.read(path)
    assert len(str(caught.value).splitlines()) == 1


def test_logits_of_tensorflow(fixtures):
    folder = fixtures / "openai-tf-tiny"
    contents = openai.read(folder)
    assert contents.config == GPTConfig(1000, n_ctx=64, n_embd=32, n_layer=2, n_head=2)
    assert (contents.tokenizer, contents.details) == (None, {})
    model = GPT(contents.config).eval()
    model.load_state_dict(contents.tensors)
    expected = np.load(folder / "expected_logits.npz")
    logits = [name for name in expected if name.startswith("logits_")]
    assert len(logits) == 5
    for name in logits:
        wanted = expected[name]
        with torch.no_grad():
            found = model(torch.from_numpy(expected["tokens_" + name.split("_")[1]]).long()).numpy()
        np.testing.assert_allclose(found[:, -wanted.shape[1] :], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shards", [1, 4])
def test_the_optimizer_is_left_out_and_the_steps_are_kept(tmp_path, writer, model, shards):
    slots = {
        f"{name}/{slot}": tensor * 0 for name, tensor in writer.theirs(model).items() for slot in ("Adam", "Adam_1")
    }
    also = slots | {"beta1_power": torch.tensor(0.9), "beta2_power": torch.tensor(0.999), "_step": torch.tensor(7)}
    writer.release(tmp_path, model, also | {"global_step": torch.tensor(1234)}, shards)
    contents = openai.read(tmp_path)
    assert (contents.config, contents.details) == (CONFIG, {"steps": 1234})
    assert contents.tensors.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(contents.tensors[name], tensor), name
    writer.release(tmp_path, model, also, shards)
    assert openai.read(tmp_path).details == {"steps": 7}


def test_half_precision_stays_what_it_is(tmp_path, writer, model):
    writer.release(tmp_path, model, {name: tensor.half() for name, tensor in writer.theirs(model).items()})
    tensors = openai.read(tmp_path).tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert torch.equal(tensors["h.1.mlp.c_fc.weight"], model.state_dict()["h.1.mlp.c_fc.weight"].half())


def test_what_is_recognised(folder, tmp_path):
    assert openai.recognises(folder)
    assert openai.recognises(folder / "model.ckpt.index")
    (tmp_path / "empty").mkdir()
    for other in ("empty", "nothing", "hparams.json", "model.ckpt.data-00000-of-00001"):
        assert not openai.recognises(tmp_path / other), other


def test_which_checkpoint_is_meant(folder, writer, model):
    """The file `checkpoint` decides, without it the name of the released ones, and an index that is given itself."""
    other = GPT(CONFIG)
    writer.bundle(folder / "model-20", writer.theirs(other))
    (folder / "checkpoint").write_text('model_checkpoint_path: "model-20"\nall_model_checkpoint_paths: "model.ckpt"\n')

    def weight(path):
        return openai.read(path).tensors["wte.weight"]

    assert torch.equal(weight(folder), other.wte.weight)
    assert torch.equal(weight(folder / "model-20.index"), other.wte.weight)
    assert torch.equal(weight(folder / "model.ckpt.index"), model.wte.weight)
    (folder / "checkpoint").unlink()
    assert torch.equal(weight(folder), model.wte.weight)


@pytest.mark.parametrize(
    "name, message",
    [
        ("../outside/model.ckpt", "expected a name in this directory"),
        ("inside/../model.ckpt", "expected a name in this directory"),
        ("{outside}/model.ckpt", "expected a name in this directory"),
        ("{folder}/model.ckpt", "expected a name in this directory"),
        ("link/model.ckpt", "leads out of"),
        ("linked", "leads out of"),
        ("circle/model.ckpt", "leads out of|holds no such"),
        ("nothing", r"it has no nothing\.index"),
        ("hparams.json/model.ckpt", r"it has no model\.ckpt\.index"),
        ("..", "names no checkpoint"),
        ("", "names no checkpoint"),
        (".", "names no checkpoint"),
        ("a" * 5000, "names no checkpoint"),
        ("model\\nckpt", "names no checkpoint"),
        ("model.ckpt\0", "names no checkpoint"),
    ],
)
def test_names_that_lead_out_of_the_directory(tmp_path, writer, model, name, message):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    writer.release(folder, model)
    writer.release(outside, model)
    (folder / "link").symlink_to(outside)
    (folder / "linked.index").symlink_to(outside / "model.ckpt.index")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{name.format(folder=folder, outside=outside)}"\n')
    refused(folder, message)


@pytest.mark.parametrize("name", ["hparams.json", "checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_links_out_of_the_directory(tmp_path, writer, model, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    writer.release(folder, model)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    refused(folder, f"{name} leads out of")


def test_a_link_within_the_directory(folder, model):
    (folder / "model.ckpt.data-00000-of-00001").rename(folder / "blob")
    (folder / "model.ckpt.data-00000-of-00001").symlink_to("blob")
    assert torch.equal(openai.read(folder).tensors["wpe.weight"], model.wpe.weight)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n_layer": 10**12}, r"lacks the tensor h\.2\.ln_1\.weight"),
        ({"n_layer": 1}, r"holds model/h1/[a-z_/12]+, which is beyond the 1 layers"),
        ({"n_layer": 0}, "n_layer is 0, expected at least 1"),
        ({"n_layer": "2"}, r"hparams\.json is not the configuration of a GPT-2: n_layer is no whole number"),
        ({"n_layer": True}, "n_layer is no whole number"),
        ({"n_layer": 2.0}, "n_layer is no whole number"),
        ({"n_embd": None}, "n_embd is no whole number"),
        ({"n_head": 4}, "n_embd 6 is not a multiple of n_head 4"),
        ({"n_embd": 12}, r"wte\.weight has the shape \[30, 6\], expected \[30, 12\]"),
        ({"n_vocab": 10**30}, r"wte\.weight has the shape"),
        ({"n_ctx": -8}, "n_ctx is -8, expected at least 1"),
    ],
)
def test_sizes_that_are_not_those_of_the_tensors(folder, change, message):
    sizes = json.loads((folder / "hparams.json").read_text())
    (folder / "hparams.json").write_text(json.dumps(sizes | change))
    refused(folder, message)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1, 2]", "n_vocab is no whole number"),
        ("{}", "it has no 'n_vocab'"),
        ('{"n_vocab": 1e400}', "n_vocab is no whole number"),
    ],
)
def test_sizes_that_are_none(folder, content, message):
    (folder / "hparams.json").write_text(content)
    refused(folder, rf"hparams\.json .*{message}")


def test_a_directory_without_sizes(tmp_path):
    refused(tmp_path, r"it has no hparams\.json")
    refused(tmp_path / "nothing", r"it has no hparams\.json")


@pytest.mark.parametrize(
    "tensor, message",
    [
        (torch.zeros(1, 6, 17), r"h\.1\.attn\.c_attn\.weight has the shape \[6, 17\], expected \[6, 18\]"),
        (torch.zeros(2, 6, 18), r"h\.1\.attn\.c_attn\.weight has the shape \[2, 6, 18\], expected \[6, 18\]"),
        (torch.zeros(()), r"has the shape \[\], expected \[6, 18\]"),
        (
            torch.zeros(1, 6, 18, dtype=torch.int32),
            r"model/h1/attn/c_attn/w has the dtype torch\.int32, expected floats",
        ),
    ],
)
def test_tensors_of_another_shape_or_dtype(tmp_path, writer, model, tensor, message):
    writer.release(tmp_path, model, {"model/h1/attn/c_attn/w": tensor})
    refused(tmp_path, message)


def test_a_tensor_that_is_missing(folder, writer, model):
    tensors = writer.theirs(model)
    del tensors["model/h1/mlp/c_proj/b"]
    writer.bundle(folder / "model.ckpt", tensors)
    refused(folder, r"model\.ckpt\.index lacks the tensor h\.1\.mlp\.c_proj\.bias")


def test_steps_that_are_none(tmp_path, writer, model):
    for step in (torch.tensor(1.5), torch.tensor([1, 2])):
        writer.release(tmp_path, model, {"global_step": step})
        assert openai.read(tmp_path).details == {}


@pytest.fixture(scope="module")
def released(tmp_path_factory, writer, model):
    folder = tmp_path_factory.mktemp("released")
    writer.release(folder, model, {"global_step": torch.tensor(5)})
    return folder, {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_broken_files_end_in_a_sentence(released, model, data):
    """Flipped bits and truncations in any of the files, and any text for the small ones."""
    folder, files = released
    for name, content in files.items():
        (folder / name).write_bytes(content)
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / name).write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 3, 0]))])
    try:
        tensors = openai.read(folder).tensors
    except WholeGPTError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(torch.equal(tensors[name], tensor) for name, tensor in model.state_dict().items())

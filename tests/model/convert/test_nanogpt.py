"""nanoGPT's checkpoints: a model built like its own gives the same logits both ways; hostile pickles do nothing."""

import zipfile
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn import functional as F

from wholegpt.errors import WholeGPTError
from wholegpt.model import checkpoint
from wholegpt.model.convert import nanogpt
from wholegpt.model.convert.contents import Contents, check_shapes
from wholegpt.model.gpt import GPT, GPTConfig

ARGUMENTS = {"n_layer": 2, "n_head": 3, "n_embd": 24, "block_size": 16, "bias": True, "vocab_size": 70, "dropout": 0.1}


class Norm(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(width, dim=2)
        )
        scores = (q @ k.transpose(-2, -1)) / (width // self.heads) ** 0.5
        hidden = torch.ones(length, length).triu(1).bool()
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        return self.c_proj((weights @ v).transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.ln_1, self.ln_2 = Norm(width, bias), Norm(width, bias)
        self.attn = Attention(width, heads, bias)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width, bias=bias), "c_proj": nn.Linear(4 * width, width, bias=bias)}
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        hidden = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](hidden * (1 + torch.erf(hidden / 2**0.5)) / 2)


class Nano(nn.Module):
    """A model with nanoGPT's names, layouts and GELU."""

    def __init__(self, n_layer, n_head, n_embd, block_size, bias, vocab_size, dropout):  # noqa: ARG002 (not in eval)
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab_size, n_embd),
                "wpe": nn.Embedding(block_size, n_embd),
                "h": nn.ModuleList(Block(n_embd, n_head, bias) for _ in range(n_layer)),
                "ln_f": Norm(n_embd, bias),
            }
        )
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.transformer["wte"].weight = self.lm_head.weight
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(std=0.3)

    def forward(self, ids):
        x = self.transformer["wte"](ids) + self.transformer["wpe"](torch.arange(ids.shape[1]))
        for block in self.transformer["h"]:
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x))


def saved(path, changes=(), **others):
    """A checkpoint as nanoGPT writes it, with changes to its tensors (None: taken away) and to its parts."""
    arguments = others.pop("model_args", ARGUMENTS)
    model = Nano(**(ARGUMENTS | {"bias": arguments.get("bias", True)})).state_dict() | dict(changes)
    model = {key: tensor for key, tensor in model.items() if tensor is not None}
    content = {
        "model": model,
        "model_args": arguments,
        "iter_num": 70,
        "best_val_loss": torch.tensor(3.0),
        "config": {},
    }
    torch.save(content | others, path)
    return path


def contents_of(model):
    return Contents(model.config, model.state_dict())


def logits(contents):
    model = GPT(contents.config).eval()
    model.load_state_dict(contents.tensors)
    with torch.no_grad():
        return model(IDS)


IDS = torch.arange(16)[None] * 3


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_logits_of_another_implementation(tmp_path, bias, prefix):
    arguments = ARGUMENTS | {"bias": bias}
    module = Nano(**arguments).eval()
    model = {prefix + key: tensor for key, tensor in module.state_dict().items()}
    model[f"{prefix}transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
    torch.save({"model": model, "model_args": arguments, "iter_num": 70}, tmp_path / "ckpt.pt")
    found = nanogpt.read(tmp_path / "ckpt.pt")
    assert found.config == GPTConfig(70, 16, 24, 2, 3, dropout=0.1, activation="gelu")
    assert found.details == {"steps": 70}
    with torch.no_grad():
        torch.testing.assert_close(logits(found), module(IDS), atol=1e-4, rtol=0)


def test_what_is_written_opens_there(tmp_path):
    torch.manual_seed(5)
    model = GPT(GPTConfig(70, 16, 24, 2, 3, activation="gelu")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    nanogpt.write(tmp_path / "ckpt.pt", replace(contents_of(model), details={"steps": 9}))
    found = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert (found["iter_num"], found["config"]) == (9, {})
    module = Nano(**found["model_args"])
    module.load_state_dict(found["model"])
    with torch.no_grad():
        torch.testing.assert_close(module(IDS), model(IDS), atol=1e-4, rtol=0)


def test_training_resumes_there(model, tmp_path):
    """As `init_from='resume'` does: groups of matrices and vectors, then the state of the file."""
    nanogpt.write(tmp_path / "ckpt.pt", contents_of(model))
    found = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    module = Nano(**found["model_args"])
    module.load_state_dict(found["model"])
    groups = [
        {"params": [tensor for tensor in module.parameters() if tensor.dim() >= 2], "weight_decay": 0.1},
        {"params": [tensor for tensor in module.parameters() if tensor.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))
    optimizer.load_state_dict(found["optimizer"])
    before = module(IDS).detach()
    module(IDS).square().mean().backward()
    optimizer.step()
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert not torch.equal(module(IDS), before)


def test_round_trip_is_exact(model, tmp_path):
    nanogpt.write(tmp_path / "ckpt.pt", contents_of(model))
    again = nanogpt.read(tmp_path / "ckpt.pt")
    assert again.config == replace(model.config, activation="gelu")
    assert again.tensors.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.tensors[name]), name
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt.pt"]


def test_views_of_a_large_storage_are_written_alone(model, tmp_path):
    large = torch.randn(10**6)
    tensors = model.state_dict() | {"wpe.weight": large[: 32 * 24].view(32, 24)}
    nanogpt.write(tmp_path / "ckpt.pt", Contents(model.config, tensors))
    assert (tmp_path / "ckpt.pt").stat().st_size < 200_000
    assert torch.equal(nanogpt.read(tmp_path / "ckpt.pt").tensors["wpe.weight"], tensors["wpe.weight"])


def test_the_fixture_is_hf_tiny(fixtures):
    found = nanogpt.read(fixtures / "nanogpt" / "ckpt.pt")
    other, _ = checkpoint.load(fixtures / "hf-tiny", "cpu", "float32")
    assert found.details == {"steps": 2000}
    assert nanogpt.recognises(fixtures / "nanogpt" / "ckpt.pt")
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, found.tensors[name]), name
    model = GPT(replace(found.config, activation="gelu_tanh"))  # with which the expected logits were made
    model.load_state_dict(found.tensors)
    expected = np.load(fixtures / "nanogpt" / "expected_logits.npz")
    for tokens, name in (("tokens_5", "logits_5"), ("tokens_30", "logits_30_last8")):
        with torch.no_grad():
            result = model(torch.from_numpy(expected[tokens])).numpy()
        np.testing.assert_allclose(result[:, -expected[name].shape[1] :], expected[name], atol=2e-4, rtol=0)


def test_an_epsilon_that_nanogpt_does_not_have(model, tmp_path):
    contents = contents_of(model)
    with pytest.raises(WholeGPTError, match=r"epsilon 1e-05, the model with 0\.001"):
        nanogpt.write(tmp_path / "ckpt.pt", replace(contents, config=replace(model.config, layer_norm_epsilon=1e-3)))
    assert not list(tmp_path.iterdir())


BLOCK = "transformer.h.1."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lm_head.weight": torch.zeros(70, 24)}, r"lm_head\.weight differs from wte\.weight"),
        ({BLOCK + "mlp.c_fc.bias": None}, r"lacks the tensor h\.1\.mlp\.c_fc\.bias"),
        ({BLOCK + "mlp.c_fc.weight": torch.zeros(24, 96)}, r"shape \[96, 24\], expected \[24, 96\]"),
        ({BLOCK + "mlp.c_fc.weight": torch.zeros(96)}, r"shape \[96\], expected \[24, 96\]"),
        ({BLOCK + "ln_1.weight": torch.zeros(24, dtype=torch.int64)}, "no tensor of floating-point numbers"),
        ({BLOCK + "ln_1.weight": 3.0}, "no tensor of floating-point numbers"),
        ({"transformer.h.2.ln_1.weight": torch.zeros(24)}, r"holds the tensor 'h\.2\.ln_1\.weight'"),
        ({7: torch.zeros(24)}, "holds the tensor '7'"),
    ],
)
def test_tensors_that_are_not_gpt2s(tmp_path, changes, sentence):
    with pytest.raises(WholeGPTError, match=sentence) as error:
        nanogpt.read(saved(tmp_path / "ckpt.pt", changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"use_relu": True}, "model_args holds 'use_relu'"),
        ({"n_head": 5}, "not a multiple of n_head 5"),
        ({"n_layer": 2**60}, "not between 1 and 2147483647"),
        ({"n_layer": 2**31 - 1}, r"lacks the tensor h\.2\.ln_1\.weight"),
        ({"n_layer": 0}, "not between 1 and"),
        ({"n_layer": 1}, r"holds the tensor 'h\.1\."),
        ({"n_embd": None}, "of the type NoneType"),
        ({"n_embd": torch.ones(3)}, "of the type Tensor"),
        ({"vocab_size": 71}, r"wte\.weight has the shape \[70, 24\], expected \[71, 24\]"),
        ({"dropout": "much"}, "dropout is no number"),
        ({"dropout": 1.0}, "dropout is 1"),
    ],
)
def test_arguments_that_are_not_gpt2s(tmp_path, arguments, sentence):
    with pytest.raises(WholeGPTError, match=sentence) as error:
        nanogpt.read(saved(tmp_path / "ckpt.pt", model_args=ARGUMENTS | arguments))
    assert "\n" not in str(error.value)


def test_parts_that_are_not_there(tmp_path):
    path = tmp_path / "ckpt.pt"
    with pytest.raises(WholeGPTError, match="has no dictionary model_args"):
        nanogpt.read(_torch(path, {"model": {}}))
    with pytest.raises(WholeGPTError, match="has no dictionary model"):
        nanogpt.read(_torch(path, {"model_args": ARGUMENTS, "model": [1]}))
    with pytest.raises(WholeGPTError, match="holds a list"):
        nanogpt.read(_torch(path, [1]))
    with pytest.raises(WholeGPTError, match="it has no 'n_layer'"):
        nanogpt.read(_torch(path, {"model": {}, "model_args": {key: 2 for key in ARGUMENTS if key != "n_layer"}}))


def _torch(path, content):
    torch.save(content, path)
    return path


def test_a_small_file_that_claims_a_large_model(tmp_path):
    """One number stands for all of a tensor, its strides are zero; or one storage for many tensors."""
    huge = ARGUMENTS | {"vocab_size": 2**30}
    one = torch.zeros(1, 1)
    path = saved(
        tmp_path / "ckpt.pt", {"transformer.wte.weight": one.expand(2**30, 24), "lm_head.weight": None}, model_args=huge
    )
    assert path.stat().st_size < 100_000
    with pytest.raises(WholeGPTError, match="larger tensors than the file can hold"):
        nanogpt.read(path)


def test_recognised_by_name_and_first_bytes(tmp_path):
    assert nanogpt.recognises(saved(tmp_path / "ckpt.pt"))
    (tmp_path / "other.bin").write_bytes((tmp_path / "ckpt.pt").read_bytes())
    (tmp_path / "text.pt").write_text("text")
    assert not any(nanogpt.recognises(tmp_path / name) for name in ("other.bin", "text.pt", "nothing.pt", ""))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a checkpoint."""
    return saved(tmp_path_factory.mktemp("fuzz") / "ckpt.pt").parent


def changed(content, changes, length):
    result = bytearray(content)
    for place, byte in changes:
        result[place % len(result)] ^= byte
    return bytes(result[:length])


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=4)


def refused_or_whole(path):
    try:
        found = nanogpt.read(path)
    except WholeGPTError as error:
        assert "\n" not in str(error)
    else:
        check_shapes(path, found.config, {name: tuple(tensor.shape) for name, tensor in found.tensors.items()})


@settings(max_examples=60, deadline=None)
@given(changes=CHANGES, length=st.none() | st.integers(0, 60_000), noise=st.binary(max_size=50))
def test_any_bytes_in_the_archive(folder, changes, length, noise):
    (folder / "fuzz.pt").write_bytes(changed((folder / "ckpt.pt").read_bytes(), changes, length))
    refused_or_whole(folder / "fuzz.pt")
    (folder / "noise.pt").write_bytes(noise)
    refused_or_whole(folder / "noise.pt")


@settings(max_examples=60, deadline=None)
@given(changes=CHANGES, length=st.none() | st.integers(0, 10_000))
def test_any_bytes_in_the_pickle(folder, changes, length):
    """The checksums of the archive are right, so that the unpickler gets to see them."""
    with zipfile.ZipFile(folder / "ckpt.pt") as opened, zipfile.ZipFile(folder / "fuzz.pt", "w") as written:
        for name in opened.namelist():
            content = opened.read(name)
            written.writestr(name, changed(content, changes, length) if name.endswith("data.pkl") else content)
    refused_or_whole(folder / "fuzz.pt")

"""llm.c's models: the bytes are those that llm.c's own order gives, lengths are checked before anything is read."""

import struct
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.model.convert import llmc
from wholegpt.model.convert.contents import Contents, check_shapes
from wholegpt.model.gpt import GPT, GPTConfig

# The sequence in which llm.c's train_gpt2.c lays out its parameters (wte, wpe, ln1w, ln1b, qkvw, ...), and whether ours
# are the transposed ones.
BLOCK = [
    ("ln_1.weight", False), ("ln_1.bias", False), ("attn.c_attn.weight", True), ("attn.c_attn.bias", False),
    ("attn.c_proj.weight", True), ("attn.c_proj.bias", False), ("ln_2.weight", False), ("ln_2.bias", False),
    ("mlp.c_fc.weight", True), ("mlp.c_fc.bias", False), ("mlp.c_proj.weight", True), ("mlp.c_proj.bias", False),
]  # fmt: skip
PADDED = 384  # of 300 entries, the next multiple of 128


def by_hand(model):
    """The float32 file of a model of two layers, 300 entries, 24 wide."""
    values = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    parts = [np.pad(values["wte.weight"], ((0, PADDED - 300), (0, 0))), values["wpe.weight"]]
    for name, transposed in BLOCK:
        for layer in (0, 1):
            value = values[f"h.{layer}.{name}"]
            parts.append(value.T if transposed else value)
    parts += [values["ln_f.weight"], values["ln_f.bias"]]
    header = struct.pack("<8i", 20240326, 3, 32, 300, 2, 3, 24, PADDED) + bytes(4 * 248)
    return header + b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def contents_of(model):
    return Contents(model.config, model.state_dict())


def test_bytes_written_are_llm_cs(model, tmp_path):
    llmc.write(tmp_path / "model.bin", contents_of(model))
    assert (tmp_path / "model.bin").read_bytes() == by_hand(model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_file_of_llm_c(model, tmp_path):
    (tmp_path / "model.bin").write_bytes(by_hand(model))
    found = llmc.read(tmp_path / "model.bin")
    assert (found.config, found.tokenizer, found.details) == (model.config, None, {"precision": "float32"})
    again = GPT(found.config).eval()
    again.load_state_dict(found.tensors)
    with torch.no_grad():
        torch.testing.assert_close(again(torch.arange(32)[None]), model(torch.arange(32)[None]), atol=1e-4, rtol=0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, found.tensors[name]), name


def test_rows_of_padding_are_cut_whatever_they_hold(model, tmp_path):
    content = bytearray(by_hand(model))
    content[1024 + 300 * 24 * 4 : 1024 + PADDED * 24 * 4] = b"\x7f" * (84 * 24 * 4)
    (tmp_path / "model.bin").write_bytes(content)
    assert torch.equal(llmc.read(tmp_path / "model.bin").tensors["wte.weight"], model.wte.weight)


def test_bfloat16(model, tmp_path):
    llmc.write(tmp_path / "model.bin", contents_of(model), "bfloat16")
    assert (tmp_path / "model.bin").read_bytes()[4:8] == struct.pack("<i", 5)
    assert (tmp_path / "model.bin").stat().st_size == 1024 + (len(by_hand(model)) - 1024) // 2
    found = llmc.read(tmp_path / "model.bin")
    assert found.details == {"precision": "bfloat16"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.bfloat16(), found.tensors[name]), name
    llmc.write(tmp_path / "again.bin", found, "bfloat16")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()


def test_a_vocabulary_that_needs_no_padding(tmp_path):
    model = GPT(GPTConfig(128, n_ctx=4, n_embd=6, n_layer=1, n_head=2))
    llmc.write(tmp_path / "model.bin", contents_of(model))
    assert (tmp_path / "model.bin").stat().st_size == 1024 + 4 * sum(p.numel() for p in model.parameters())
    assert torch.equal(llmc.read(tmp_path / "model.bin").tensors["ln_f.bias"], model.ln_f.bias)


def header(**changes):
    fields = {"magic": 20240326, "version": 3, "n_ctx": 32, "vocab": 300, "layers": 2, "heads": 3, "width": 24}
    return struct.pack("<8i", *(fields | {"rows": PADDED} | changes).values())


@pytest.mark.parametrize(
    ("start", "sentence"),
    [
        (header(magic=20240327), "begins with 20240327, expected 20240326"),
        (header(version=1), r"of version 1, expected 3 \(float32\) or 5 \(bfloat16\)"),
        # 1024 + 2 x (384 x 24 + 32 x 24 + 2 x (12 x 24 x 24 + 13 x 24) + 2 x 24) bytes
        (header(version=5), "header describes a model of 49984"),
        (header(layers=2**31 - 1), "header describes a model of"),
        (header(layers=-1), "not between 1 and"),
        (header(width=2**31 - 1, heads=1), "header describes a model of"),
        (header(heads=5), "not a multiple of n_head 5"),
        (header(rows=299), "299 rows for a vocabulary of 300"),
        (header(vocab=0), "not between 1 and"),
    ],
)
def test_headers_that_do_not_fit(model, tmp_path, start, sentence):
    path = tmp_path / "model.bin"
    path.write_bytes(start + by_hand(model)[32:])
    with pytest.raises(WholeGPTError, match=sentence) as error:
        llmc.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [0, 3, 1023, 1024, 1028, -4, -1])
def test_files_cut_short(model, tmp_path, length):
    (tmp_path / "model.bin").write_bytes(by_hand(model)[:length])
    with pytest.raises(WholeGPTError, match=r"expected a header of 1024|describes a model of"):
        llmc.read(tmp_path / "model.bin")


def test_a_file_that_is_too_long(model, tmp_path):
    (tmp_path / "model.bin").write_bytes(by_hand(model) + bytes(4))
    with pytest.raises(WholeGPTError, match="describes a model of"):
        llmc.read(tmp_path / "model.bin")


def test_what_llm_c_cannot_hold(model, tmp_path):
    contents = contents_of(model)
    with pytest.raises(UsageError, match="no precision float16; expected float32 or bfloat16"):
        llmc.write(tmp_path / "model.bin", contents, "float16")
    with pytest.raises(WholeGPTError, match="epsilon"):
        llmc.write(tmp_path / "model.bin", replace(contents, config=replace(model.config, layer_norm_epsilon=1e-6)))
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_nothing(model, tmp_path):
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name != "ln_f.bias"}
    with pytest.raises(KeyError):
        llmc.write(tmp_path / "model.bin", Contents(model.config, tensors))
    assert not list(tmp_path.iterdir())


def test_recognised_by_its_magic_number(model, tmp_path):
    llmc.write(tmp_path / "model.bin", contents_of(model))
    (tmp_path / "other.bin").write_bytes(b"PK\x03\x04")
    (tmp_path / "empty.bin").write_bytes(b"")
    assert llmc.recognises(tmp_path / "model.bin")
    assert not any(llmc.recognises(tmp_path / name) for name in ("other.bin", "empty.bin", "nothing.bin", ""))


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A file of a small model: a header of 1,024 bytes, then 1,368."""
    path = tmp_path_factory.mktemp("fuzz") / "model.bin"
    llmc.write(path, contents_of(GPT(GPTConfig(5, n_ctx=4, n_embd=2, n_layer=1, n_head=1))))
    return path


@settings(max_examples=150, deadline=None)
@given(
    numbers=st.dictionaries(st.integers(0, 7), st.integers(-(2**31), 2**31 - 1) | st.integers(0, 9), max_size=3),
    flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), max_size=3),
    length=st.none() | st.integers(0, 2392),
)
def test_any_bytes(example, numbers, flips, length):
    changed = bytearray(example.read_bytes())
    path = example.with_name("fuzz.bin")
    for place, number in numbers.items():
        struct.pack_into("<i", changed, 4 * place, number)
    for place, byte in flips:
        changed[place % len(changed)] ^= byte
    path.write_bytes(changed[:length])
    try:
        found = llmc.read(path)
    except WholeGPTError as error:
        assert "\n" not in str(error)
    else:
        check_shapes(path, found.config, {name: tuple(tensor.shape) for name, tensor in found.tensors.items()})

"""GGUF files: the package that llama.cpp publishes reads what is written; headers that lie are refused at once."""

import struct
import sys
from dataclasses import replace

import gguf as package
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.model import checkpoint
from wholegpt.model.convert import gguf, gguf_header
from wholegpt.model.convert.contents import Contents, check_shapes
from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.tokenizer import Tokenizer


@pytest.fixture
def contents(model, tokenizer):
    return Contents(model.config, model.state_dict(), tokenizer, {"name": "test"})


def fields(path):
    """Metadata and types of the tensors as the package reads them."""
    reader = package.GGUFReader(path)
    metadata = {key: field.contents() for key, field in reader.fields.items()}
    return metadata, {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}


def test_the_package_reads_what_is_written(contents, model, tokenizer, tmp_path):
    gguf.write(tmp_path / "model.gguf", contents)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    metadata, kinds = fields(tmp_path / "model.gguf")
    expected = {
        "general.architecture": "gpt2",
        "general.name": "test",
        "general.file_type": 0,
        "gpt2.block_count": 2,
        "gpt2.context_length": 32,
        "gpt2.embedding_length": 24,
        "gpt2.feed_forward_length": 96,
        "gpt2.attention.head_count": 3,
        "gpt2.attention.layer_norm_epsilon": pytest.approx(1e-5),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 299,
        "tokenizer.ggml.eos_token_id": 299,
        "tokenizer.ggml.token_type": [1] * 299 + [3],
    }
    assert {key: metadata[key] for key in expected} == expected
    assert metadata["tokenizer.ggml.tokens"][-1] == "<|endoftext|>"
    assert metadata["tokenizer.ggml.tokens"][188] == "Ā"  # the first byte that is not printable, 0
    assert len(metadata["tokenizer.ggml.merges"]) == len(tokenizer.merges)
    assert set(kinds.values()) == {"F32"}
    tensors = {tensor.name: tensor.data for tensor in package.GGUFReader(tmp_path / "model.gguf").tensors}
    assert len(tensors) == 28
    np.testing.assert_array_equal(tensors["token_embd.weight"], model.wte.weight.detach())
    np.testing.assert_array_equal(tensors["blk.1.attn_qkv.weight"], model.h[1].attn.c_attn.weight.detach().t())
    np.testing.assert_array_equal(tensors["blk.1.ffn_down.bias"], model.h[1].mlp.c_proj.bias.detach())


def test_float32_comes_back_exact(contents, tmp_path):
    gguf.write(tmp_path / "model.gguf", contents)
    again = gguf.read(tmp_path / "model.gguf")
    assert (again.config, again.details) == (contents.config, contents.details)
    for name in ("vocabulary", "merges", "special"):
        assert getattr(again.tokenizer, name) == getattr(contents.tokenizer, name)
    for name, tensor in contents.tensors.items():
        assert torch.equal(tensor, again.tensors[name]), name
    gguf.write(tmp_path / "again.gguf", again)
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "model.gguf").read_bytes()


def test_float16(contents, tmp_path):
    gguf.write(tmp_path / "model.gguf", contents, "F16")
    again = gguf.read(tmp_path / "model.gguf")
    assert fields(tmp_path / "model.gguf")[0]["general.file_type"] == 1
    for name, tensor in contents.tensors.items():
        plain = tensor.dim() == 1 or name == "wpe.weight"
        assert torch.equal(tensor if plain else tensor.half(), again.tensors[name]), name


def wide(tokenizer):
    """64 wide, so that rows are multiples of 32."""
    torch.manual_seed(2)
    model = GPT(GPTConfig(tokenizer.vocab_size, n_ctx=16, n_embd=64, n_layer=1, n_head=2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return Contents(model.config, model.state_dict(), tokenizer)


def test_eight_bits_are_within_half_a_step(tokenizer, tmp_path):
    """A block of 32 values of a row has 127 steps up to its largest, the step itself being a float16."""
    contents = wide(tokenizer)
    gguf.write(tmp_path / "model.gguf", contents, "Q8_0")
    metadata, kinds = fields(tmp_path / "model.gguf")
    assert metadata["general.file_type"] == 7
    matrices = {"token_embd", "blk.0.attn_qkv", "blk.0.attn_output", "blk.0.ffn_up", "blk.0.ffn_down"}
    assert {name.removesuffix(".weight") for name, kind in kinds.items() if kind == "Q8_0"} == matrices
    assert set(kinds.values()) == {"Q8_0", "F32"}
    found = gguf.read(tmp_path / "model.gguf").tensors
    for name, tensor in contents.tensors.items():
        if tensor.dim() == 1 or name == "wpe.weight":
            assert torch.equal(tensor, found[name])
            continue
        stored, original = (t if name == "wte.weight" else t.t() for t in (found[name], tensor))
        blocks = original.reshape(-1, 32)
        step = blocks.abs().amax(1, keepdim=True) / 127
        error = (stored.reshape(-1, 32) - blocks).abs()
        assert bool((error <= step * (0.5 + 127 * 2**-11) + 1e-6).all()), name
        assert float(error.max()) > 0


def test_rows_that_do_not_fit_eight_bits_become_float16(contents, tmp_path):
    gguf.write(tmp_path / "model.gguf", contents, "Q8_0")  # rows of 24, but 96 in the second layer of an MLP
    kinds = fields(tmp_path / "model.gguf")[1]
    assert (kinds["token_embd.weight"], kinds["blk.0.ffn_up.weight"]) == ("F16", "F16")
    assert (kinds["blk.0.ffn_down.weight"], kinds["position_embd.weight"]) == ("Q8_0", "F32")
    assert torch.equal(gguf.read(tmp_path / "model.gguf").tensors["wte.weight"], contents.tensors["wte.weight"].half())


def test_bfloat16_and_a_tied_output_of_others(contents, tmp_path):
    """Both as llama.cpp's converter writes them on request; written here with its package."""
    values = {"token_embd.weight": contents.tensors["wte.weight"]}
    rewrite(tmp_path / "model.gguf", contents, values, ("token_embd.weight", "output.weight"), "BF16")
    found = gguf.read(tmp_path / "model.gguf")
    assert found.tensors.keys() == contents.tensors.keys()
    torch.testing.assert_close(
        found.tensors["wte.weight"], contents.tensors["wte.weight"].bfloat16(), atol=0, rtol=2**-7
    )
    other = {"output.weight": contents.tensors["wte.weight"] + 1}
    rewrite(tmp_path / "model.gguf", contents, values | other, ("token_embd.weight", "output.weight"), "BF16")
    with pytest.raises(WholeGPTError, match=r"output\.weight is not token_embd\.weight"):
        gguf.read(tmp_path / "model.gguf")


def rewrite(path, contents, values=None, names=(), kind="F32", leave_out=(), **metadata):
    """A file like ours, written with the package's reader and writer: some tensors of another kind or content, some
    left out, some metadata of other values (None: left out)."""
    gguf.write(path, contents)
    reader = package.GGUFReader(path)
    writer = package.GGUFWriter(path.with_suffix(".new"), metadata.pop("architecture", "gpt2"))
    for key, field in reader.fields.items():
        short = key.replace(".", "_")
        value = metadata.get(short, field.contents())
        if key.startswith("GGUF.") or key == "general.architecture" or value is None:
            continue
        kinds = field.types if short not in metadata else [package.GGUFValueType.get_type(value)]
        writer.add_key_value(key, value, kinds[0], sub_type=kinds[1] if len(kinds) > 1 else None)
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors if tensor.name not in leave_out}
    given = {name: tensor.numpy() for name, tensor in (values or {}).items()}
    if "output.weight" in names:
        tensors["output.weight"] = given.get("token_embd.weight")
    for name, array in (tensors | given).items():
        quantised = package.GGMLQuantizationType[kind if name in names else "F32"]
        writer.add_tensor(name, package.quantize(array, quantised), raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "llama"}, "of the kind 'llama', expected gpt2"),
        ({"leave_out": ["blk.1.ffn_up.bias"]}, r"lacks the tensor h\.1\.mlp\.c_fc\.bias"),
        ({"leave_out": ["token_embd.weight"]}, r"it has no 'wte\.weight'"),
        ({"values": {"blk.0.attn_norm.weight": torch.ones(23)}}, r"shape \[23\], expected \[24\]"),
        ({"values": {"blk.0.ffn_up.weight": torch.ones(24, 96)}}, r"shape \[96, 24\], expected \[24, 96\]"),
        ({"values": {"rope_freqs.weight": torch.ones(24)}}, "holds the tensor 'rope_freqs.weight'"),
        ({"values": {"blk.2.attn_norm.weight": torch.ones(24)}}, r"holds the tensor 'h\.2\.ln_1\.weight'"),
        ({"names": ["blk.0.ffn_down.weight"], "kind": "Q4_0"}, "of the tensor type 2, which is none of F32, F16, Q8_0"),
        ({"gpt2_block_count": None}, "it has no 'gpt2.block_count'"),
        ({"gpt2_block_count": 3}, r"lacks the tensor h\.2\.ln_1\.weight"),
        ({"gpt2_block_count": 2**31 - 1}, r"lacks the tensor h\.2\.ln_1\.weight"),
        ({"gpt2_block_count": "two"}, "of the type str"),
        ({"gpt2_attention_head_count": 5}, "not a multiple of n_head 5"),
        ({"gpt2_context_length": 33}, r"wpe\.weight has the shape \[32, 24\], expected \[33, 24\]"),
        ({"gpt2_attention_layer_norm_epsilon": -1.0}, "the epsilon of layer norms is -1.0"),
        ({"tokenizer_ggml_model": "llama"}, "not GPT-2's byte-level BPE"),
        ({"tokenizer_ggml_pre": "qwen2"}, "not GPT-2's byte-level BPE"),
        ({"tokenizer_ggml_tokens": ["a", "b"]}, "has not one number for each of the 2 tokens"),
        ({"tokenizer_ggml_tokens": [1, 2]}, r"ggml\.tokens is no array of strings"),
        ({"tokenizer_ggml_merges": ["a b c"]}, "no byte-level vocabulary"),
        ({"tokenizer_ggml_merges": ["! !"]}, "no byte-level vocabulary"),
        ({"tokenizer_ggml_merges": ["→ a"]}, "no byte-level vocabulary"),
        ({"tokenizer_ggml_token_type": [3] * 300}, "no byte-level vocabulary"),
    ],
)
def test_what_is_not_gpt2s(contents, tmp_path, changes, sentence):
    rewrite(tmp_path / "model.gguf", contents, **changes)
    with pytest.raises(WholeGPTError, match=sentence) as error:
        gguf.read(tmp_path / "model.gguf")
    assert "\n" not in str(error.value)


def test_a_tokenizer_without_types_or_none_at_all(contents, tmp_path):
    rewrite(tmp_path / "model.gguf", contents, tokenizer_ggml_token_type=None, tokenizer_ggml_pre=None)
    assert gguf.read(tmp_path / "model.gguf").tokenizer.special == {"<|endoftext|>": 299}
    rewrite(tmp_path / "model.gguf", contents, tokenizer_ggml_model=None)
    assert gguf.read(tmp_path / "model.gguf").tokenizer is None


def test_entries_beyond_the_tokenizer_are_unused(contents, tokenizer, tmp_path):
    """As in models whose vocabulary was rounded up, nanoGPT's 50,304."""
    tensors = contents.tensors | {"wte.weight": torch.randn(304, 24)}
    gguf.write(
        tmp_path / "model.gguf", replace(contents, config=replace(contents.config, vocab_size=304), tensors=tensors)
    )
    metadata, _ = fields(tmp_path / "model.gguf")
    assert metadata["tokenizer.ggml.tokens"][300:] == ["[PAD300]", "[PAD301]", "[PAD302]", "[PAD303]"]
    assert metadata["tokenizer.ggml.token_type"][299:] == [3, 5, 5, 5, 5]
    found = gguf.read(tmp_path / "model.gguf")
    assert found.tokenizer.vocab_size == 304
    assert found.tokenizer.encode_ordinary("the [PAD300]") == tokenizer.encode_ordinary("the [PAD300]")


def test_what_gguf_cannot_hold(contents, tokenizer, tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(UsageError, match="kind Q4_0 cannot be written; expected F32, F16, Q8_0"):
        gguf.write(path, contents, "Q4_0")
    with pytest.raises(WholeGPTError, match="would have no tokenizer"):
        gguf.write(path, replace(contents, tokenizer=None))
    other = Tokenizer(tokenizer.vocabulary, tokenizer.merges, tokenizer.special, r"\s+|\S+")
    with pytest.raises(WholeGPTError, match="splitting of text"):
        gguf.write(path, replace(contents, tokenizer=other))
    with pytest.raises(WholeGPTError, match="the tokenizer has 300 entries, the model 299"):
        gguf.write(path, replace(contents, config=replace(contents.config, vocab_size=299)))
    assert not list(tmp_path.iterdir())


def test_without_the_package(contents, tokenizer, tmp_path, monkeypatch):
    """Float files can be read; quantised ones, and writing, need it."""
    gguf.write(tmp_path / "model.gguf", contents)
    gguf.write(tmp_path / "small.gguf", wide(tokenizer), "Q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert gguf.read(tmp_path / "model.gguf").config == contents.config
    for call in (lambda: gguf.read(tmp_path / "small.gguf"), lambda: gguf.write(tmp_path / "new.gguf", contents)):
        with pytest.raises(WholeGPTError, match=r"pip install 'wholegpt\[gguf\]'"):
            call()


def test_the_fixture_is_hf_tiny(fixtures, tmp_path):
    path = fixtures / "gguf" / "tiny-F32.gguf"
    found = gguf.read(path)
    other, tokenizer = checkpoint.load(fixtures / "hf-tiny", "cpu", "float32")
    assert gguf.recognises(path)
    assert found.tokenizer.vocabulary == tokenizer.vocabulary
    assert (found.tokenizer.merges, found.tokenizer.special) == (tokenizer.merges, tokenizer.special)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, found.tensors[name]), name
    model = GPT(found.config).eval()
    model.load_state_dict(found.tensors)
    expected = np.load(f"{path}.expected.npz")
    with torch.no_grad():
        logits = model(torch.from_numpy(expected["tokens"])).numpy()
    np.testing.assert_allclose(logits[..., expected["columns"]], expected["logits"], atol=2e-4, rtol=0)
    gguf.write(tmp_path / "model.gguf", found)
    ours, theirs = fields(tmp_path / "model.gguf"), fields(path)
    differ = {key for key in theirs[0] if ours[0].get(key) != theirs[0][key]}
    assert differ <= {"GGUF.kv_count", "gpt2.vocab_size"}  # the latter is not llama.cpp's converter's
    assert ours[1] == theirs[1]


STRING, ARRAY = 8, 9


def text(value):
    return struct.pack("<Q", len(value)) + value


def head(version=3, tensors=0, entries=0):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries)


def place(dimensions, kind=0, start=0, name=b"t"):
    return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, start)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not begin with GGUF"),
        (b"GGUX" + bytes(100), "does not begin with GGUF"),
        (b"GGUF", "claims 4 bytes at byte 4 of 4"),
        (head(version=1), "of version 1, expected 2 or 3"),
        (head(version=3 << 24), r"version 50331648, expected 2 or 3 \(little-endian\)"),
        (head(tensors=2**60), "claims 8 bytes at byte 24"),
        (head(entries=2**60), "claims 8 bytes at byte 24"),
        (head(entries=1) + struct.pack("<Q", 2**60), "claims 1152921504606846976 bytes at byte 32"),
        (head(entries=1) + text(b"\xff") + bytes(12), "not UTF-8"),
        (head(entries=1) + text(b"k") + struct.pack("<IQ", 13, 0), "unknown type 13"),
        (head(entries=1) + text(b"k") + struct.pack("<IIQ", ARRAY, STRING, 2**60), "claims 8 bytes at byte 49"),
        (head(entries=1) + text(b"k") + struct.pack("<IIQ", ARRAY, 10, 2**62), "claims 36893488147419103232 bytes"),
        (head(entries=1) + text(b"k") + struct.pack("<IIQ", ARRAY, ARRAY, 1), "unknown type 9"),
        (head(entries=2) + 2 * (text(b"k") + struct.pack("<IB", 0, 1)), "gives the key 'k' twice"),
        (head(tensors=1) + place([2**40]), "does not lie inside"),
        (head(tensors=1) + place([2**63, 2**63, 2**63]), "does not lie inside"),
        (head(tensors=1) + place([1] * 5), "has 5 dimensions"),
        (head(tensors=1) + text(b"t") + struct.pack("<I", 2**31), "has 2147483648 dimensions"),
        (head(tensors=1) + place([1], start=2**63), "does not lie inside"),
        (head(tensors=1) + place([1], start=3) + bytes(64), "does not lie inside"),
        (head(tensors=1) + place([33], kind=8) + bytes(99), "no multiple of Q8_0's 32 values"),
        (head(tensors=1) + place([], kind=8) + bytes(99), "no multiple of Q8_0's 32 values"),
        (head(tensors=2) + 2 * place([1]) + bytes(99), "holds the tensor 't' twice"),
        (
            head(tensors=3) + b"".join(place([100], name=name) for name in (b"a", b"b", b"c")) + bytes(500),
            "claims larger tensors",
        ),
        (head(entries=1) + text(b"general.alignment") + struct.pack("<II", 4, 0), "not a power of two from 8"),
        (head(entries=1) + text(b"general.alignment") + struct.pack("<II", 4, 24), "not a power of two from 8"),
        (head(entries=1) + text(b"general.alignment") + struct.pack("<If", 6, 32), "not a power of two from 8"),
    ],
)
def test_headers_that_lie(tmp_path, content, sentence):
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(WholeGPTError, match=sentence) as error:
        gguf.read(tmp_path / "model.gguf")
    assert "\n" not in str(error.value)


def test_a_header_of_version_2_and_all_types_of_metadata(tmp_path):
    values = [(0, "<B", 200), (1, "<b", -3), (2, "<H", 9), (3, "<h", -9), (4, "<I", 5), (5, "<i", -5), (6, "<f", 0.5),
              (7, "<?", True), (10, "<Q", 2**60), (11, "<q", -7), (12, "<d", 0.1)]  # fmt: skip
    content = head(2, tensors=1, entries=len(values) + 2)
    for kind, form, value in values:
        content += text(f"k{kind}".encode()) + struct.pack("<I", kind) + struct.pack(form, value)
    content += text(b"numbers") + struct.pack("<IIQ2i", ARRAY, 5, 2, 8, -8)
    content += text(b"words") + struct.pack("<IIQ", ARRAY, STRING, 2) + text("ä".encode()) + text(b"")
    content += place([3, 2], kind=1)
    content += bytes(-len(content) % 32) + np.arange(6, dtype=np.float16).tobytes()
    (tmp_path / "model.gguf").write_bytes(content)
    found = gguf_header.read(tmp_path / "model.gguf")
    assert {f"k{kind}": value for kind, _, value in values}.items() <= found.metadata.items()
    assert found.metadata["numbers"].tolist() == [8, -8]
    assert found.metadata["words"] == ["ä", ""]
    assert found.tensors == {"t": gguf_header.Place("F16", (2, 3), len(content) - 12, 12)}


def test_recognised_by_its_magic_bytes(contents, tmp_path):
    gguf.write(tmp_path / "model.gguf", contents)
    (tmp_path / "other.gguf").write_bytes(b"PK\x03\x04")
    assert gguf.recognises(tmp_path / "model.gguf")
    assert not any(gguf.recognises(tmp_path / name) for name in ("other.gguf", "nothing.gguf", ""))


@pytest.fixture(scope="module")
def example(tmp_path_factory, tokenizer):
    """A file of a small model, quantised where it can be; where its tensors begin."""
    path = tmp_path_factory.mktemp("fuzz") / "model.gguf"
    torch.manual_seed(4)
    model = GPT(GPTConfig(tokenizer.vocab_size, n_ctx=2, n_embd=32, n_layer=1, n_head=1))
    gguf.write(path, Contents(model.config, model.state_dict(), tokenizer), "Q8_0")
    return path, min(place.start for place in gguf_header.read(path).tensors.values())


@settings(max_examples=100, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), max_size=3),
    everywhere=st.booleans(),
    numbers=st.lists(
        st.tuples(st.integers(0, 2**20), st.sampled_from([0, 1, 8, 9, 2**31, 2**60, 2**64 - 1])), max_size=2
    ),
    length=st.none() | st.integers(0, 2**15),
    noise=st.binary(max_size=60),
)
def test_any_bytes(example, flips, everywhere, numbers, length, noise):
    """Bytes and whole numbers of the header (or of all the file) changed; magic bytes followed by noise."""
    whole, start = example
    changed = bytearray(whole.read_bytes())
    end = len(changed) if everywhere else start
    path = whole.with_name("fuzz.gguf")
    for position, byte in flips:
        changed[position % end] ^= byte
    for position, number in numbers:
        struct.pack_into("<Q", changed, position % (end - 8), number)
    for fuzzed in (bytes(changed[:length]), head(tensors=1, entries=1) + noise, noise):
        path.write_bytes(fuzzed)
        try:
            found = gguf.read(path)
        except WholeGPTError as error:
            assert "\n" not in str(error)
        else:
            check_shapes(path, found.config, {name: tuple(tensor.shape) for name, tensor in found.tensors.items()})

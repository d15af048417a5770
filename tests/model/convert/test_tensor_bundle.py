"""TensorFlow's checkpoints: what others wrote is read as it is, what is broken or hostile ends in one sentence."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.errors import WholeGPTError
from wholegpt.model.convert.tensor_bundle import open_bundle

torch.manual_seed(0)
TENSORS = {
    "global_step": torch.tensor(600_000),
    "model/h0/a": torch.randn(3, 5),
    "model/h0/b": torch.randn(7).half(),
    "model/h1/a": torch.randn(1, 2, 3).bfloat16(),
    "model/h1/b": torch.randn(2, 2, dtype=torch.float64),
    "model/large": torch.randn(700, 800),
    "step": torch.tensor(-3, dtype=torch.int32),
    "weiß/東京": torch.randn(()),
}
SMALL = {name: tensor for name, tensor in TENSORS.items() if name != "model/large"}


@pytest.fixture(scope="module")
def small(tmp_path_factory, writer) -> dict[str, bytes]:
    """The files of a small checkpoint of two shards."""
    folder = tmp_path_factory.mktemp("small")
    writer.bundle(folder / "m", SMALL, shards=2, records_a_block=3)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "m"


def refused(prefix: Path, message: str) -> None:
    """Opening the checkpoint ends in one sentence that has `message` in it."""
    with pytest.raises(WholeGPTError, match=message) as caught:
        open_bundle(prefix)
    assert len(str(caught.value).splitlines()) == 1


def same_or_error(prefix: Path, expected: dict[str, torch.Tensor]) -> bool:
    """Whether the checkpoint is refused; if it is not, everything in it must be as it was."""
    try:
        bundle = open_bundle(prefix)
        found = {name: bundle.read(name) for name in bundle.entries}
    except WholeGPTError as error:
        assert len(str(error).splitlines()) == 1
        return True
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    return False


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("records_a_block", [1, 4, 100])
def test_every_dtype_shape_and_layout_comes_back(tmp_path, writer, shards, records_a_block):
    writer.bundle(tmp_path / "m.ckpt-7", TENSORS, shards, records_a_block)
    bundle = open_bundle(tmp_path / "m.ckpt-7")
    assert {name: (entry.dtype, entry.shape) for name, entry in bundle.entries.items()} == {
        name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()
    }
    assert len(bundle.shards) == shards
    for name, tensor in TENSORS.items():
        found = bundle.read(name)
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor), name


def test_more_names_than_a_restart_interval(tmp_path, writer):
    tensors = {f"model/h{layer}/w{'x' * (layer % 40)}": torch.full((2,), float(layer)) for layer in range(100)}
    writer.bundle(tmp_path / "m", tensors)
    assert not same_or_error(tmp_path / "m", tensors)


def test_what_tensorflow_wrote(fixtures):
    folder = fixtures / "openai-tf-tiny"
    expected = json.loads((folder / "variables.json").read_text(encoding="utf-8"))
    bundle = open_bundle(folder / "model.ckpt")
    shapes = {name: list(entry.shape) for name, entry in bundle.entries.items()}
    assert shapes == expected["model_variables"]
    for name, total in expected["sums_float64"].items():
        assert bundle.read(name).double().sum().item() == pytest.approx(total, abs=1e-9), name


def test_the_writer_writes_what_tensorflow_wrote(fixtures, tmp_path, writer):
    """So that the tests below, which need no TensorFlow, are about its format."""
    folder = fixtures / "openai-tf-tiny"
    bundle = open_bundle(folder / "model.ckpt")
    writer.bundle(tmp_path / "model.ckpt", {name: bundle.read(name) for name in bundle.entries})
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_missing_files_and_names(tmp_path, small):
    refused(tmp_path / "m", r"it has no m\.index")
    prefix = write(tmp_path, small)
    with pytest.raises(WholeGPTError, match=r"m\.index lacks the variable 'model/wte'"):
        open_bundle(prefix).read("model/wte")
    (tmp_path / "m.data-00001-of-00002").unlink()
    refused(prefix, r"lacks m\.data-00001-of-00002, the shard with the variable")


def test_every_truncation_is_refused(tmp_path, small):
    for name, content in small.items():
        write(tmp_path, small)
        for length in range(len(content)):
            prefix = write(tmp_path, {name: content[:length]})
            refused(prefix, "would end at byte" if ".data-" in name else r"m\.index")


def test_a_shard_that_shrinks_after_it_was_measured(tmp_path, small):
    bundle = open_bundle(write(tmp_path, small))
    for name in small:
        if ".data-" in name:
            (tmp_path / name).write_bytes(b"")
    with pytest.raises(WholeGPTError, match="ended while it was read"):
        bundle.read("model/h0/a")


def test_a_damaged_tensor_leaves_the_others(tmp_path, writer):
    writer.bundle(tmp_path / "m", TENSORS)
    bundle = open_bundle(tmp_path / "m")
    content = bytearray(bundle.shards[0].read_bytes())
    content[bundle.entries["model/large"].offset + 2_000_000] ^= 16
    bundle.shards[0].write_bytes(content)
    with pytest.raises(WholeGPTError, match="is damaged: the checksum of the variable 'model/large' is wrong"):
        bundle.read("model/large")
    assert torch.equal(bundle.read("model/h1/b"), TENSORS["model/h1/b"])


def test_every_flipped_byte_is_noticed_or_means_nothing(small, scratch):
    """Only the empty block that nobody reads, its place in the footer, and the footer's filling mean nothing."""
    unnoticed = []
    for name, content in small.items():
        write(scratch, small)
        for position in range(len(content)):
            flipped = bytearray(content)
            flipped[position] ^= 1 + position % 255
            if not same_or_error(write(scratch, {name: bytes(flipped)}), SMALL):
                unnoticed.append(name)
    assert set(unnoticed) == {"m.index"}
    assert len(unnoticed) <= 8 + 5 + 40


@settings(max_examples=100)
@given(data=st.data())
def test_flipped_bits(small, scratch, data):
    name = data.draw(st.sampled_from(sorted(small)))
    content = bytearray(small[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    same_or_error(write(scratch, small | {name: bytes(content)}), SMALL)


@settings(max_examples=100)
@given(content=st.binary(max_size=300), footer=st.booleans())
def test_random_bytes_as_an_index(small, scratch, content, footer):
    prefix = write(scratch, small | {"m.index": content + (small["m.index"][-48:] if footer else b"")})
    refused(prefix, r"m\.index")


@settings(max_examples=150)
@given(data=st.data())
def test_changed_records_with_right_checksums(small, scratch, writer, data):
    """The checksums do not protect against those who mean harm: every record may hold anything."""
    values = {b"": writer.header(2), b"a": writer.entry(1, [2, 3], 0, 4, 24, 0), b"b": writer.entry(9, [], 1, 0, 8, 0)}
    for key in values:
        value = bytearray(values[key])
        for _ in range(data.draw(st.integers(0, 3))):
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
        values[key] = bytes(value) + data.draw(st.binary(max_size=4))
    keys = data.draw(st.lists(st.binary(max_size=5), unique=True, max_size=3))
    prefix = write(scratch, small | {"m.index": writer.table(values | dict.fromkeys(keys, values[b"a"]))})
    with suppress(WholeGPTError):
        bundle = open_bundle(prefix)
        for name in bundle.entries:
            with suppress(WholeGPTError):
                bundle.read(name)


HOSTILE = {
    "offset": (1, [2, 2], 0, 2**60, 16),
    "size": (1, [2**60], 0, 0, 2**62),
    "shard": (1, [2, 2], 2**40, 0, 16),
    "negative offset": (1, [2, 2], 0, 2**64 - 8, 16),
    "other size": (1, [2, 2], 0, 0, 12),
    "other dtype": (2, [2, 2], 0, 0, 16),
    "overflow": (1, [2**32, 2**32], 0, 0, 0),
    "many axes": (1, [1] * 300, 0, 0, 4),
    "unread dtype": (7, [2**50], 0, 2**50, 16),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_claims(tmp_path, small, writer, kind):
    message = {
        "offset": r"m\.data-00000-of-00002 has \d+ bytes, the variable 'x' would end at byte 1152921504606846992",
        "size": "would end at byte",
        "shard": "lacks m.data-1099511627776-of-00002",
        "negative offset": "would end at byte",
        "other size": re.escape("the shape [2, 2] in torch.float32 claims 12 bytes"),
        "other dtype": re.escape("the shape [2, 2] in torch.float64 claims 16 bytes"),
        "overflow": "claims 0 bytes",
        "many axes": "claims 4 bytes",
        "unread dtype": "would end at byte",
    }[kind]
    index = writer.table({b"": writer.header(2), b"x": writer.entry(*HOSTILE[kind], 0)})
    refused(write(tmp_path, small | {"m.index": index}), message)


def test_variables_that_share_their_bytes_would_need_more_memory_than_there_are_bytes(tmp_path, small, writer):
    overlapping = {b"a": writer.entry(1, [2, 2], 0, 0, 16, 0), b"b": writer.entry(1, [2, 2], 0, 12, 16, 0)}
    refused(
        write(tmp_path, small | {"m.index": writer.table({b"": writer.header(2)} | overlapping)}),
        "the variable 'b' overlaps with the one before it",
    )


def test_what_is_left_out_says_so(tmp_path, small, writer):
    plain, extent = writer.entry(1, [2, 2], 0, 0, 16, 0), writer.part(4, b"")
    slices = writer.part(7, writer.part(1, extent + extent))
    cases = {
        "compressed": writer.table({b"": writer.header(2), b"x": plain}, compression=1),
        "big-endian": writer.table({b"": writer.header(2, big_endian=True), b"x": plain}),
        # The slice itself stands under a name that is no text.
        "stored in slices": writer.table(
            {b"": writer.header(2), b"\0x\0\1\x82\x80": plain, b"x": writer.entry(1, [2, 2], 0, 0, 16, 0, slices)}
        ),
        "expected at most 1048576": small["m.index"].rjust(2**20 + 1, b"\0"),
        "longer than it can be": writer.table({b"": writer.header(2), b"x" * 2000: plain}),
        "does not end like one": b"",
    }
    for message, content in cases.items():
        refused(write(tmp_path, small | {"m.index": content}), message)


def test_blocks_inside_of_blocks_are_refused(tmp_path, small, writer):
    """A small index could otherwise name one block thousands of times, and take hours."""
    content = small["m.index"]
    block = writer.block([(b"", writer.header(2))]) + b"\0"
    place = b"\0" + bytes([len(block) - 1])
    index = writer.block([(b"a", place), (b"b", place)]) + b"\0"
    body = b"".join(part + writer.masked(part).to_bytes(4, "little") for part in (block, index))
    footer = b"\0\0" + bytes([len(block) + 4, len(index) - 1])
    refused(write(tmp_path, small | {"m.index": body + footer.ljust(40, b"\0") + content[-8:]}), "its blocks overlap")


def test_strings_are_known_but_not_read(tmp_path, small, writer):
    index = writer.table({b"": writer.header(2), b"graph": writer.entry(7, [], 0, 0, 16, 0)})
    bundle = open_bundle(write(tmp_path, small | {"m.index": index}))
    assert (bundle.entries["graph"].dtype, bundle.entries["graph"].shape) == (None, ())
    with pytest.raises(WholeGPTError, match="neither floats nor integers"):
        bundle.read("graph")

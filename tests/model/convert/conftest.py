"""A writer of TensorFlow's checkpoint format for the tests: several shards and blocks, shared beginnings of names.

It follows the documents of the format, not the reader: LevelDB's doc/table_format.md and tensor_bundle.proto.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import google_crc32c
import pytest
import torch

from wholegpt.model.gpt import GPT

DTYPES = {
    torch.float32: 1, torch.float64: 2, torch.int32: 3, torch.int64: 9, torch.bfloat16: 14, torch.float16: 19,
}  # fmt: skip


def varint(number: int) -> bytes:
    groups = []
    while True:
        number, group = number >> 7, number & 0x7F
        groups.append(group | (0x80 if number else 0))
        if not number:
            return bytes(groups)


def number(field: int, value: int) -> bytes:
    """A field of a protocol buffer; zero is the default and not written."""
    return varint(field << 3) + varint(value) if value else b""


def part(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def header(shards: int = 1, big_endian: bool = False) -> bytes:
    return number(1, shards) + number(2, big_endian) + part(3, number(1, 1))


def entry(
    dtype: int, shape: Iterable[int], shard: int, offset: int, size: int, checksum: int, slices: bytes = b""
) -> bytes:
    axes = b"".join(part(2, number(1, axis)) for axis in shape)
    place = number(3, shard) + number(4, offset) + number(5, size)
    return number(1, dtype) + part(2, axes) + place + varint(6 << 3 | 5) + checksum.to_bytes(4, "little") + slices


def masked(data: bytes) -> int:
    checksum = google_crc32c.value(data)
    rotated = (checksum >> 15) | (checksum & 0x7FFF) << 17
    return (rotated + 0xA282EAD8) % 2**32


def block(records: list[tuple[bytes, bytes]], restart_every: int = 16) -> bytes:
    content, restarts, before = b"", [], b""
    for index, (key, value) in enumerate(records):
        shared = 0
        if index % restart_every:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        else:
            restarts.append(len(content))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return content + b"".join(place.to_bytes(4, "little") for place in [*restarts, len(restarts)])


def successor(name: bytes) -> bytes:
    """A short name behind `name`, under which the last block stands: up to the first byte that can grow, which does."""
    for length, byte in enumerate(name):
        if byte < 255:
            return name[:length] + bytes([byte + 1])
    return name


def table(records: dict[bytes, bytes], records_a_block: int = 10**6, compression: int = 0) -> bytes:
    """The bytes of an index file."""
    content = b""

    def add(records: list[tuple[bytes, bytes]]) -> bytes:
        nonlocal content
        written = block(records) + bytes([compression])
        place = varint(len(content)) + varint(len(written) - 1)
        content += written + masked(written).to_bytes(4, "little")
        return place

    ordered = sorted(records.items())
    groups = [ordered[start : start + records_a_block] for start in range(0, len(ordered), records_a_block)]
    places = [(group[-1][0], add(group)) for group in groups]
    last, place = places.pop()
    places.append((successor(last), place))
    footer = add([]) + add(places)
    return content + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def bundle(prefix: Path, tensors: dict[str, torch.Tensor], shards: int = 1, records_a_block: int = 10**6) -> None:
    """Write a checkpoint; the tensors go to the shards in turn, one at a time."""
    records = {b"": header(shards)}
    streams = [
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").open("wb") for shard in range(shards)
    ]
    for index, name in enumerate(sorted(tensors)):
        tensor, stream = tensors[name], streams[index % shards]
        data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        place = index % shards, stream.tell(), len(data), masked(data)
        records[name.encode()] = entry(DTYPES[tensor.dtype], tensor.shape, *place)
        stream.write(data)
    for stream in streams:
        stream.close()
    prefix.with_name(prefix.name + ".index").write_bytes(table(records, records_a_block))


def theirs(model: GPT) -> dict[str, torch.Tensor]:
    """The parameters of a model as OpenAI's code names and shapes them."""
    result = {}
    for name, tensor in model.state_dict().items():
        *path, kind = re.sub(r"^h\.", "h", name).split(".")
        if path[-1] in ("wte", "wpe"):
            result[f"model/{path[-1]}"] = tensor
        elif kind == "bias":
            result["/".join(["model", *path, "b"])] = tensor
        elif path[-1].startswith("ln_"):
            result["/".join(["model", *path, "g"])] = tensor
        else:
            result["/".join(["model", *path, "w"])] = tensor[None]
    return result


def release(folder: Path, model: GPT, also: dict[str, torch.Tensor] | None = None, shards: int = 1) -> None:
    """Write a directory like those that OpenAI released, without vocabulary; `also` replaces or adds variables."""
    config = model.config
    hparams = {name: getattr(config, name) for name in ("n_ctx", "n_embd", "n_head", "n_layer")}
    (folder / "hparams.json").write_text(json.dumps({"n_vocab": config.vocab_size} | hparams))
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    bundle(folder / "model.ckpt", theirs(model) | (also or {}), shards)


@pytest.fixture(scope="session")
def writer() -> SimpleNamespace:
    return SimpleNamespace(
        header=header,
        entry=entry,
        part=part,
        block=block,
        table=table,
        masked=masked,
        bundle=bundle,
        theirs=theirs,
        release=release,
    )

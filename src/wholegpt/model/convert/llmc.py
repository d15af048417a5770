"""llm.c's checkpoint: a header of 256 int32 and the parameters, each stacked over the layers, without gaps.

header  0 magic, 1 version, 2 context window, 3 vocabulary, 4 layers, 5 heads, 6 width, 7 rows of the embedding

Version 3 holds float32, version 5 bfloat16. The matrices of layers are [outputs, inputs], and the embedding is padded
with rows of zeros to a multiple of 128. Left out: versions 1 and 2 (without padding), and files of llm.c's optimizer
and of its tests, which hold no model.
"""

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from wholegpt import artifact
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.model.convert.contents import Contents, Shape, check_epsilon, is_linear, shapes, size, sizes
from wholegpt.model.gpt import GPTConfig

ACTIVATION = "gelu_tanh"
"""What llm.c computes; a model with the other one comes out of it with logits that differ by some 1e-3."""

MAGIC = 20240326
VERSIONS = {"float32": 3, "bfloat16": 5}
_HEADER = struct.Struct("<256i")
_MULTIPLE = 128
_NORM, _LINEAR = (".weight", ".bias"), ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
# Of a block, in llm.c's order: c_attn and c_proj stand before the second norm.
_BLOCK = [part + end for part in ("ln_1", *_LINEAR[:2], "ln_2", *_LINEAR[2:]) for end in _NORM]


def recognises(path: Path) -> bool:
    """Whether the file begins with the magic number of llm.c's models."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == struct.pack("<i", MAGIC)


def read(path: Path) -> Contents:
    """The model in the file, in the precision that the file has; the padding is cut off.

    The tensors are views into the mapped file, those of layers transposed ones. Raises WholeGPTError where the header
    is not llm.c's or the file is longer or shorter than it says.
    """
    header = _read_header(path)
    precision = {version: name for name, version in VERSIONS.items()}.get(header[1])
    if precision is None:
        raise WholeGPTError(f"{path} is a model of llm.c of version {header[1]}, expected 3 (float32) or 5 (bfloat16)")
    config = sizes(path, lambda: _config(header))
    dtype: torch.dtype = getattr(torch, precision)
    expected = _HEADER.size + _parameter_count(config, header[7]) * dtype.itemsize
    if path.stat().st_size != expected:
        raise WholeGPTError(f"{path} has {path.stat().st_size} bytes, but its header describes a model of {expected}")
    values = torch.from_file(str(path), shared=False, size=expected // dtype.itemsize, dtype=dtype)
    tensors = _unstack(values[_HEADER.size // dtype.itemsize :], config, header[7])
    return Contents(config, tensors, details={"precision": precision})


def write(path: Path, contents: Contents, precision: str = "float32") -> None:
    """Write a model that llm.c opens (`-e FILE`), in `float32` or `bfloat16`.

    llm.c computes `ACTIVATION` whatever the model was trained with. The tokenizer is not part of the format.
    """
    if precision not in VERSIONS:
        raise UsageError(f"llm.c knows no precision {precision}; expected {' or '.join(VERSIONS)}")
    config = contents.config
    check_epsilon(config, "llm.c")
    rows = -(-config.vocab_size // _MULTIPLE) * _MULTIPLE
    dtype: torch.dtype = getattr(torch, precision)
    numbers = (config.n_ctx, config.vocab_size, config.n_layer, config.n_head, config.n_embd, rows)
    with artifact.whole_file(path) as temporary, temporary.open("wb") as stream:
        stream.write(_HEADER.pack(MAGIC, VERSIONS[precision], *numbers, *[0] * (256 - 8)))
        for name, _ in _order(config, rows):
            tensor = contents.tensors[name]
            plain = (tensor.t() if is_linear(name) else tensor).detach().to("cpu", dtype).contiguous()
            stream.write(plain.view(torch.uint8).numpy().data)
            if name == "wte.weight":
                stream.write(bytes((rows - config.vocab_size) * config.n_embd * dtype.itemsize))


def _read_header(path: Path) -> tuple[int, ...]:
    with path.open("rb") as stream:
        start = stream.read(_HEADER.size)
    if len(start) < _HEADER.size:
        raise WholeGPTError(f"{path} has {len(start)} bytes, expected a header of {_HEADER.size} and a model")
    header = _HEADER.unpack(start)
    if header[0] != MAGIC:
        raise WholeGPTError(f"{path} is no model of llm.c: it begins with {header[0]}, expected {MAGIC}")
    return header


def _config(header: tuple[int, ...]) -> GPTConfig:
    context, vocabulary, layers, heads, width, rows = (size(number) for number in header[2:8])
    if rows < vocabulary:
        raise ValueError(f"the embedding has {rows} rows for a vocabulary of {vocabulary}")
    return GPTConfig(vocabulary, context, width, layers, heads, activation=ACTIVATION)


def _parameter_count(config: GPTConfig, rows: int) -> int:
    """Counted from the shapes of one block, so that a lying number of layers costs nothing."""
    one = GPTConfig(rows, config.n_ctx, config.n_embd, n_layer=1, n_head=config.n_head)
    counts = {name: prod(shape) for name, shape in shapes(one)}
    block = sum(count for name, count in counts.items() if name.startswith("h."))
    return sum(counts.values()) + (config.n_layer - 1) * block


def _order(config: GPTConfig, rows: int) -> Iterator[tuple[str, Shape]]:
    """Our names in the order of the file, and the shapes there."""
    ours = dict(shapes(config)) | {"wte.weight": (rows, config.n_embd)}
    names = ["wte.weight", "wpe.weight"]
    names += [f"h.{layer}.{name}" for name in _BLOCK for layer in range(config.n_layer)]
    for name in (*names, "ln_f.weight", "ln_f.bias"):
        yield name, ours[name][::-1] if is_linear(name) else ours[name]


def _unstack(values: Tensor, config: GPTConfig, rows: int) -> dict[str, Tensor]:
    """Views of the values [N], in our layout."""
    tensors, start = {}, 0
    for name, shape in _order(config, rows):
        tensor = values[start : start + prod(shape)].view(shape)
        tensors[name] = tensor.t() if is_linear(name) else tensor
        start += prod(shape)
    return tensors | {"wte.weight": tensors["wte.weight"][: config.vocab_size]}

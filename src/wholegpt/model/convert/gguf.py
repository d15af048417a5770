"""GGUF, the format of llama.cpp: metadata, the tokenizer and the tensors in one file.

| llama.cpp                | here              |
|--------------------------|-------------------|
| token_embd.weight        | wte.weight        |
| position_embd.weight     | wpe.weight        |
| blk.N.attn_norm.*        | h.N.ln_1.*        |
| blk.N.attn_qkv.*         | h.N.attn.c_attn.* |
| blk.N.attn_output.*      | h.N.attn.c_proj.* |
| blk.N.ffn_norm.*         | h.N.ln_2.*        |
| blk.N.ffn_up.*           | h.N.mlp.c_fc.*    |
| blk.N.ffn_down.*         | h.N.mlp.c_proj.*  |
| output_norm.*            | ln_f.*            |
| output.weight, if any    | wte.weight (tied) |

Matrices of layers are [outputs, inputs]. The header is read by `gguf_header`, because the package `gguf` trusts it;
the package quantises and writes. Left out: quantisation to less than 8 bits, files in several parts.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wholegpt import artifact
from wholegpt.errors import UsageError, WholeGPTError, missing_extra
from wholegpt.model.convert import gguf_header
from wholegpt.model.convert.contents import Contents, check_no_others, check_shapes, is_linear, shapes, size, sizes
from wholegpt.model.convert.gguf_header import Place
from wholegpt.model.gpt import GPTConfig
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.bpe import PATTERN
from wholegpt.tokenizer.files import to_bytes, to_characters

ACTIVATION = "gelu_tanh"
"""What llama.cpp computes; a model with the other one comes out of it with logits that differ by some 1e-3."""

KINDS = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}
"""What `write` can make of the matrices, and the package's name of such a file."""

_OURS = {
    "token_embd": "wte",
    "position_embd": "wpe",
    "output_norm": "ln_f",
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}
_OUTPUT = "output.weight"
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_PRE = "gpt-2"
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def recognises(path: Path) -> bool:
    """Whether the file begins with GGUF's magic bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(gguf_header.MAGIC)) == gguf_header.MAGIC


def read(path: Path) -> Contents:
    """The model and the tokenizer of a file whose tensors are F32, F16, BF16 or Q8_0.

    Tensors of Q8_0 become float32; the others are views into the mapped file, those of layers transposed ones.
    Raises WholeGPTError naming the file and the fault.
    """
    header = gguf_header.read(path)
    metadata = header.metadata
    if metadata.get("general.architecture") != "gpt2":
        raise WholeGPTError(f"{path} holds a model of the kind {metadata.get('general.architecture')!r}, expected gpt2")
    places = {_our_name(path, name): place for name, place in header.tensors.items() if name != _OUTPUT}
    config = sizes(path, lambda: _config(metadata, places))
    check_shapes(path, config, {name: _our_shape(name, place) for name, place in places.items()})
    check_no_others(path, config, places)
    tokenizer = _tokenizer(path, metadata) if "tokenizer.ggml.model" in metadata else None
    if tokenizer and tokenizer.vocab_size != config.vocab_size:
        raise WholeGPTError(f"{path}: {tokenizer.vocab_size} tokens for an embedding of {config.vocab_size} rows")
    tensors = _tensors(path, places, header.tensors.get(_OUTPUT))
    name = metadata.get("general.name")
    return Contents(config, tensors, tokenizer, {"name": name} if isinstance(name, str) else {})


def write(path: Path, contents: Contents, kind: str = "F32") -> None:
    """Write a file that llama.cpp opens: matrices and the token embedding as `kind`, all else F32, as its converter.

    Q8_0 needs rows of a multiple of 32 values; others become F16. Tokens that the model has beyond those of the
    tokenizer are written as unused. llama.cpp computes `ACTIVATION` whatever the model was trained with. Raises
    WholeGPTError where the contents have no tokenizer, or one that llama.cpp cannot follow.
    """
    if kind not in KINDS:
        raise UsageError(f"GGUF of the kind {kind} cannot be written; expected {', '.join(KINDS)}")
    library = _library()
    with artifact.whole_file(path) as temporary:
        writer = library.GGUFWriter(temporary, "gpt2")
        try:
            _add_sizes(writer, contents)
            writer.add_file_type(library.LlamaFileType[KINDS[kind]])
            writer.add_quantization_version(library.GGML_QUANT_VERSION)
            _add_tokenizer(writer, path, contents)
            _write_tensors(library, writer, contents, kind)
        finally:
            writer.close()


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise missing_extra("gguf", "gguf") from None
    return gguf


def _our_name(path: Path, name: str) -> str:
    """Our name of a tensor of llama.cpp."""
    found = re.fullmatch(r"(?:blk\.([0-9]+)\.)?(\w+)\.(weight|bias)", name)
    if not found or found[2] not in _OURS:
        raise WholeGPTError(f"{path} holds the tensor {name!r}, which llama.cpp's GPT-2 does not have")
    return (f"h.{found[1]}." if found[1] else "") + f"{_OURS[found[2]]}.{found[3]}"


def _their_name(name: str) -> str:
    """llama.cpp's name of one of our tensors."""
    block, part, end = re.fullmatch(r"(?:h\.([0-9]+)\.)?(.+)\.(weight|bias)", name).groups()  # type: ignore[union-attr]
    return (f"blk.{block}." if block else "") + f"{_THEIRS[part]}.{end}"


def _our_shape(name: str, place: Place) -> tuple[int, ...]:
    return place.shape[::-1] if is_linear(name) else place.shape


def _config(metadata: dict[str, Any], places: dict[str, Place]) -> GPTConfig:
    epsilon = metadata["gpt2.attention.layer_norm_epsilon"]
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ValueError(f"the epsilon of layer norms is {epsilon!r}, expected a number between 0 and 1")
    return GPTConfig(
        vocab_size=size(places["wte.weight"].shape[0]),
        n_ctx=size(metadata["gpt2.context_length"]),
        n_embd=size(metadata["gpt2.embedding_length"]),
        n_layer=size(metadata["gpt2.block_count"]),
        n_head=size(metadata["gpt2.attention.head_count"]),
        activation=ACTIVATION,
        layer_norm_epsilon=float(str(np.float32(epsilon))),  # 1e-5 again, not the float32 nearest to it
    )


def _tensors(path: Path, places: dict[str, Place], output: Place | None) -> dict[str, Tensor]:
    content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    tensors = {name: _values(content, place) for name, place in places.items()}
    if output and not torch.equal(_values(content, output), tensors["wte.weight"]):
        raise WholeGPTError(f"{path}: {_OUTPUT} is not token_embd.weight, but the output of GPT-2 is its embedding")
    return {name: tensor.t() if is_linear(name) else tensor for name, tensor in tensors.items()}


def _values(content: Tensor, place: Place) -> Tensor:
    """The values of a tensor in the shape of the file."""
    part = content[place.start : place.start + place.length]
    if place.kind != "Q8_0":
        return part.view(_DTYPES[place.kind]).view(place.shape)
    library = _library()
    with np.errstate(invalid="ignore", over="ignore"):  # a broken scale gives values that are no numbers
        values = library.dequantize(part.view(place.shape[0], -1).numpy(), library.GGMLQuantizationType.Q8_0)
    return torch.from_numpy(values).view(place.shape)


def _tokenizer(path: Path, metadata: dict[str, Any]) -> Tokenizer:
    tokens, merges = (_strings(path, metadata, name) for name in ("tokens", "merges"))
    if metadata["tokenizer.ggml.model"] != "gpt2" or metadata.get("tokenizer.ggml.pre", _PRE) != _PRE:
        raise WholeGPTError(f"{path} holds a tokenizer that is not GPT-2's byte-level BPE")
    special = {tokens[index]: index for index in _special(path, metadata, len(tokens))}
    ids = {token: index for index, token in enumerate(tokens)}
    try:
        vocabulary = [token.encode() if token in special else to_bytes(token) for token in tokens]
        pairs = [(ids[left], ids[right]) for left, right in (merge.split(" ") for merge in merges)]
        return Tokenizer(vocabulary, pairs, special)
    except (KeyError, ValueError, WholeGPTError) as error:
        raise WholeGPTError(f"{path}: tokens and merges are no byte-level vocabulary ({error})") from None


def _strings(path: Path, metadata: dict[str, Any], name: str) -> list[str]:
    found = metadata.get(f"tokenizer.ggml.{name}", [])
    if not isinstance(found, list):
        raise WholeGPTError(f"{path}: tokenizer.ggml.{name} is no array of strings")
    return found


def _special(path: Path, metadata: dict[str, Any], count: int) -> list[int]:
    """Ids of tokens that stand for no text; without types, the one that ends a text."""
    types = metadata.get("tokenizer.ggml.token_type")
    if types is None:
        end = metadata.get("tokenizer.ggml.eos_token_id")
        return [end] if isinstance(end, int) and 0 <= end < count else []
    if not isinstance(types, np.ndarray) or len(types) != count:
        raise WholeGPTError(f"{path}: tokenizer.ggml.token_type has not one number for each of the {count} tokens")
    return [index for index, kind in enumerate(types.tolist()) if kind in (_CONTROL, _USER_DEFINED)]


def _add_sizes(writer: Any, contents: Contents) -> None:
    config = contents.config
    writer.add_name(str(contents.details.get("name", "GPT-2")))
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_ctx)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def _add_tokenizer(writer: Any, path: Path, contents: Contents) -> None:
    tokenizer, entries = contents.tokenizer, contents.config.vocab_size
    if tokenizer is None:
        raise WholeGPTError(f"{path} would have no tokenizer: GGUF holds it too, give the model's own")
    if tokenizer.pattern != PATTERN:
        raise WholeGPTError(f"{path}: llama.cpp knows GPT-2's splitting of text only, this tokenizer has another")
    unused = range(tokenizer.vocab_size, entries)
    if tokenizer.vocab_size > entries:
        raise WholeGPTError(f"{path}: the tokenizer has {tokenizer.vocab_size} entries, the model {entries}")
    names = {index: token for token, index in tokenizer.special.items()}
    tokens = [names.get(index) or to_characters(token) for index, token in enumerate(tokenizer.vocabulary)]
    types = [_CONTROL if index in names else _NORMAL for index in range(len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_PRE)
    writer.add_token_list(tokens + [f"[PAD{index}]" for index in unused])
    writer.add_token_types(types + [_UNUSED] * len(unused))
    writer.add_token_merges([f"{tokens[left]} {tokens[right]}" for left, right in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.eot)
    writer.add_eos_token_id(tokenizer.eot)


def _write_tensors(library: Any, writer: Any, contents: Contents, kind: str) -> None:
    """First all names and places, then one tensor after another."""
    for name, shape in shapes(contents.config):
        shape = shape[::-1] if is_linear(name) else shape
        quantised = library.GGMLQuantizationType[_kind(name, shape, kind)]
        block, length = library.GGML_QUANT_SIZES[quantised]
        stored = (*shape[:-1], shape[-1] // block * length)
        writer.add_tensor_info(_their_name(name), stored, np.dtype(np.uint8), int(np.prod(stored)), quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for array in _arrays(library, contents, kind):
        writer.write_tensor_data(array)


def _arrays(library: Any, contents: Contents, kind: str) -> Iterator[NDArray[Any]]:
    for name, _ in shapes(contents.config):
        tensor = contents.tensors[name]
        array = (tensor.t() if is_linear(name) else tensor).detach().to("cpu", torch.float32).contiguous().numpy()
        yield library.quantize(array, library.GGMLQuantizationType[_kind(name, array.shape, kind)])


def _kind(name: str, shape: tuple[int, ...], kind: str) -> str:
    """What a tensor becomes in a file of a kind; `shape` is that of the file."""
    if len(shape) < 2 or name == "wpe.weight":
        return "F32"
    return "F16" if kind == "Q8_0" and shape[-1] % 32 else kind

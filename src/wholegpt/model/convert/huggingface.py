"""Hugging Face's directory, which is also what training writes and `wholegpt convert --to hf`.

config.json, generation_config.json     sizes; the ids that begin and end a text
model.safetensors                       parameters under the released names with the prefix `transformer.`; tied output
vocab.json, merges.txt, tokenizer.json, tokenizer_config.json

Also read: `model.safetensors.index.json` with its shards, `pytorch_model.bin`, and a single file of either kind. A
config.json that asks for what GPT-2 has not (cross-attention, another scaling, an untied output) is refused.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import torch_files
from wholegpt.model.convert.contents import Contents, Shape, check_no_others, check_shapes, size, sizes
from wholegpt.model.gpt import GPTConfig

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
PREFIX = "transformer."
OUTPUT = "lm_head.weight"
# Masks, which older files store.
BUFFERS = (".attn.bias", ".attn.masked_bias")
# Their names of activations; the first of each of ours is the one that is written.
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh"}
# Settings that change the mathematics, and the value that is GPT-2's.
FIXED = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
# The width of a head in all four released sizes: what a single file without a configuration is taken to have.
HEAD_WIDTH = 64

# The file that lists the tensors, their shapes by their stored names, and how to read one.
Stored = tuple[Path, Mapping[str, Shape], Callable[[str], Tensor]]


def recognises(path: Path) -> bool:
    """Whether `path` is such a directory, or a file of weights."""
    if path.is_dir():
        return (path / CONFIG).is_file()
    return path.suffix == ".safetensors" or (path.suffix == ".bin" and torch_files.recognises(path))


def read(path: Path) -> Contents:
    """Sizes and parameters, memory-mapped; the tokenizer beside them is left to the caller."""
    folder = path if path.is_dir() else path.parent
    with _opened(path) as (weights, shapes, tensor):
        stored = {name.removeprefix(PREFIX): name for name in shapes if not name.endswith(BUFFERS)}
        output = stored.pop(OUTPUT, None)
        found = {name: shapes[theirs] for name, theirs in stored.items()}
        described = path.is_dir() or (folder / CONFIG).is_file()
        config = read_config(folder / CONFIG) if described else _sizes_of(path, found)
        check_shapes(weights, config, found)
        check_no_others(weights, config, found)
        tensors = {name: tensor(theirs) for name, theirs in stored.items()}
        if output and not torch.equal(tensor(output), tensors["wte.weight"]):
            raise WholeGPTError(f"{weights} has an output layer of its own ({OUTPUT}); GPT-2's is tied to wte.weight")
    return Contents(config, tensors)


def read_config(path: Path) -> GPTConfig:
    """The sizes in a config.json; WholeGPTError where it is not GPT-2's."""
    if not path.is_file():
        raise WholeGPTError(f"{path.parent} holds no model: it has no {path.name}")
    content = artifact.read_json(path)
    if not isinstance(content, dict) or content.get("model_type", "gpt2") != "gpt2":
        raise WholeGPTError(f"{path} is not the configuration of a GPT-2")

    def build() -> GPTConfig:
        for name, value in FIXED.items():
            if content.get(name, value) != value:
                raise ValueError(f"{name} is {content[name]}")
        width, inner = size(content["n_embd"]), content.get("n_inner")
        if inner not in (None, 4 * width):
            raise ValueError(f"n_inner is {inner}, expected {4 * width}")
        activation = content.get("activation_function", "gelu_new")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation_function is {activation}, expected one of {', '.join(ACTIVATIONS)}")
        return GPTConfig(
            vocab_size=size(content["vocab_size"]),
            n_ctx=size(content["n_positions"] if "n_positions" in content else content["n_ctx"]),
            n_embd=width,
            n_layer=size(content["n_layer"]),
            n_head=size(content["n_head"]),
            dropout=float(content.get("resid_pdrop", 0.0)),
            activation=ACTIVATIONS[activation],
            layer_norm_epsilon=float(content.get("layer_norm_epsilon", 1e-5)),
        )

    return sizes(path, build)


def write(folder: Path, contents: Contents) -> None:
    """Write the directory, parameters in the precision they have; each file gets its name only when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    config, tokenizer = contents.config, contents.tokenizer
    ends = {"bos_token_id": tokenizer.eot, "eos_token_id": tokenizer.eot} if tokenizer else {}
    content = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.activation),
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "vocab_size": config.vocab_size,
        "n_ctx": config.n_ctx,  # llama.cpp's converter reads this name
        "n_positions": config.n_ctx,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        **dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), config.dropout),
        **ends,
        "tie_word_embeddings": True,
        "torch_dtype": str(contents.tensors["wte.weight"].dtype).removeprefix("torch."),
    }
    artifact.write_json(folder / CONFIG, content)
    artifact.write_json(folder / "generation_config.json", {"_from_model_config": True, **ends})
    write_weights(folder / WEIGHTS, contents.tensors)
    if tokenizer:
        tokenizer.save(folder)


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write parameters under their names in the checkpoint."""
    named = {PREFIX + name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with artifact.whole_file(path) as partial:
        safetensors.torch.save_file(named, partial, metadata={"format": "pt"})


def _sizes_of(path: Path, found: Mapping[str, Shape]) -> GPTConfig:
    """The sizes that the shapes of a single file tell."""

    def build() -> GPTConfig:
        vocab_size, width = found["wte.weight"]
        layers = {int(name.split(".")[1]) for name in found if name.startswith("h.")}
        if width % HEAD_WIDTH:
            raise ValueError(f"a width of {width} does not tell the number of heads; put its {CONFIG} beside it")
        return GPTConfig(vocab_size, found["wpe.weight"][0], width, max(layers) + 1, width // HEAD_WIDTH)

    return sizes(path, build)


@contextmanager
def _opened(path: Path) -> Iterator[Stored]:
    """The tensors of a directory or file."""
    if path.is_file():
        with _opened_file(path) as stored:
            yield stored
    elif (path / WEIGHTS).is_file():
        with open_safetensors(path / WEIGHTS) as stored:
            yield stored
    elif (path / INDEX).is_file():
        yield _sharded(path / INDEX)
    elif (path / PICKLED).is_file():
        with _opened_file(path / PICKLED) as stored:
            yield stored
    else:
        raise WholeGPTError(f"{path} holds no weights: it has no {WEIGHTS}, {INDEX} or {PICKLED}")


@contextmanager
def _opened_file(path: Path) -> Iterator[Stored]:
    if path.suffix == ".safetensors":
        with open_safetensors(path) as stored:
            yield stored
        return
    tensors = torch_files.load(path)
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise WholeGPTError(f"{path} holds no parameters: expected tensors by name")
    yield path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, tensors.__getitem__


@contextmanager
def open_safetensors(path: Path) -> Iterator[Stored]:
    """The tensors of a safetensors file; what is read stays valid afterwards."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            yield path, shapes, file.get_tensor
    except (safetensors.SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WholeGPTError(f"{path} is not a whole safetensors file ({error})") from None


def _sharded(index: Path) -> Stored:
    """The tensors of the files that an index names; none of them may lie outside its folder."""
    places = artifact.read_json(index)
    places = places.get("weight_map") if isinstance(places, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise WholeGPTError(f"{index} has no weight_map from tensors to files")
    shapes: dict[str, Shape] = {}
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        file = artifact.inside(index.parent, name)
        with open_safetensors(file) as (_, found, tensor):
            shapes |= found
            tensors |= {key: tensor(key) for key in found}
    return index, shapes, tensors.__getitem__

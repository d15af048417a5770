"""A model on disk: the directory that Hugging Face's GPT-2 uses, which is also what training writes.

config.json         sizes
model.safetensors   parameters under the released names with the prefix `transformer.`; the output is tied
vocab.json, merges.txt
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.tokenizer import Tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREFIX = "transformer."


def save(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    """Write a model and its tokenizer; each file gets its name only when it is whole."""
    config = model.config
    content = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "vocab_size": config.vocab_size,
        "n_ctx": config.n_ctx,
        "n_positions": config.n_ctx,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "bos_token_id": tokenizer.eot,
        "eos_token_id": tokenizer.eot,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }
    artifact.write_json(folder / CONFIG, content)
    save_weights(folder / WEIGHTS, model)
    tokenizer.save(folder)


def save_weights(path: Path, model: GPT) -> None:
    """Write the parameters under their names in the checkpoint."""
    tensors = {PREFIX + name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    artifact.write_bytes(path, safetensors.torch.save(tensors, metadata={"format": "pt"}))


def load(path: str | Path, device: str = "auto", dtype: str = "auto") -> tuple[GPT, Tokenizer]:
    """Load a run or a checkpoint directory; the model comes back in eval mode.

    `device` auto is a GPU where there is one; `dtype` auto is float32 on a CPU, whatever the file stores, and bfloat16
    on a GPU that has it. Logits are float32 always. Raises WholeGPTError naming the file and the fault.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise WholeGPTError(f"{path} is no directory; expected a run or a checkpoint ({CONFIG}, {WEIGHTS})")
    tokenizer = Tokenizer.load(folder)
    config = read_config(folder / CONFIG)
    if tokenizer.vocab_size != config.vocab_size:
        raise WholeGPTError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} entries, the model {config.vocab_size}: "
            "they do not belong together"
        )
    target = torch.device(choose_device(device))
    with torch.device("meta"):
        model = GPT(config)
    model.load_state_dict(read_weights(folder / WEIGHTS, model), assign=True)
    return model.to(target, choose_dtype(dtype, target)).eval(), tokenizer


def read_config(path: Path) -> GPTConfig:
    """The sizes in a config.json, in Hugging Face's names."""
    if not path.is_file():
        raise WholeGPTError(f"{path.parent} holds no model: it has no {path.name}")
    content = artifact.read_json(path)
    try:
        positions = content.get("n_positions", content.get("n_ctx"))
        sizes: dict[str, Any] = {name: int(content[name]) for name in ("vocab_size", "n_embd", "n_layer", "n_head")}
        if content.get("activation_function", "gelu_new") != "gelu_new":
            raise WholeGPTError(f"{path}: activation {content['activation_function']} is not GPT-2's (gelu_new)")
        return GPTConfig(n_ctx=int(positions), dropout=float(content.get("resid_pdrop", 0.0)), **sizes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WholeGPTError(f"{path} is not the configuration of a GPT-2 ({error})") from None


def read_weights(path: Path, model: GPT) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, checked against the model's names and shapes before they are read."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with _opened(path) as file:
        stored = {name.removeprefix(PREFIX): name for name in file.keys()}  # noqa: SIM118 (no mapping)
        for name, shape in expected.items():
            if name not in stored:
                raise WholeGPTError(f"{path} lacks the tensor {name}")
            found = tuple(file.get_slice(stored[name]).get_shape())
            if found != shape:
                raise WholeGPTError(f"{path}: {name} has the shape {list(found)}, expected {list(shape)}")
        return {name: file.get_tensor(stored[name]) for name in expected}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise WholeGPTError(f"{path.parent} holds no weights: it has no {path.name}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WholeGPTError(f"{path} is not a whole safetensors file ({error})") from None


def choose_device(device: str) -> str:
    """`auto` is the GPU where there is one."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU and bfloat16 on a GPU that has it."""
    if dtype == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in known:
        raise WholeGPTError(f"dtype {dtype} is unknown; expected auto, {', '.join(known)}")
    return known[dtype]

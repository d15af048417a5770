"""nanoGPT's `ckpt.pt`: a zip archive of a pickle (model, optimizer, model_args, iter_num, best_val_loss, config) and
the values of the tensors.

nanoGPT stores the matrices of layers as [outputs, inputs], the tied output a second time under its own key, with
`bias=False` no biases at all, and computes exact GELU.

Left out: the moments of the optimizer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import torch_files
from wholegpt.model.convert.contents import (
    Contents,
    check_epsilon,
    check_no_others,
    check_shapes,
    is_linear,
    size,
    sizes,
)
from wholegpt.model.gpt import GPTConfig

ACTIVATION = "gelu"
"""What nanoGPT computes; a model with the other one comes out of it with logits that differ by some 1e-3."""

PREFIX = "transformer."
_OUTPUT = "lm_head.weight"
_ARGUMENTS = {"n_layer", "n_head", "n_embd", "block_size", "bias", "vocab_size", "dropout"}
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# As nanoGPT's train.py sets them.
_BETAS, _DECAY, _NO_LOSS = (0.9, 0.95), 0.1, 1e9


def recognises(path: Path) -> bool:
    """Whether the file is called *.pt and begins like something that torch.save wrote."""
    return path.suffix == ".pt" and torch_files.recognises(path)


def read(path: Path) -> Contents:
    """The model of a checkpoint; `details` holds the steps that it was trained for.

    The tensors are views into the mapped file, those of layers transposed ones. Raises WholeGPTError naming the file
    and the fault; no code of the file is run.
    """
    checkpoint = torch_files.load(path)
    arguments = _part(path, checkpoint, "model_args")
    config = sizes(path, lambda: _config(arguments))
    tensors = _parameters(path, _part(path, checkpoint, "model"))
    if arguments.get("bias") is False:
        tensors |= _zero_biases(tensors)
    check_shapes(path, config, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    check_no_others(path, config, tensors)
    steps = checkpoint.get("iter_num")
    return Contents(config, tensors, details={"steps": steps} if isinstance(steps, int) else {})


def write(path: Path, contents: Contents) -> None:
    """Write a checkpoint in float32 that nanoGPT's sample.py and `init_from='resume'` open.

    The optimizer in it has seen no step yet: training goes on with moments of zero. nanoGPT computes `ACTIVATION`
    whatever the model was trained with. The tokenizer is not part of the format: sample.py takes GPT-2's.
    """
    config = contents.config
    check_epsilon(config, "nanoGPT")
    model = {PREFIX + name: _plain(name, tensor) for name, tensor in contents.tensors.items()}
    optimizer = _fresh_optimizer(model)
    checkpoint = {
        "model": model | {_OUTPUT: model[f"{PREFIX}wte.weight"]},
        "optimizer": optimizer,
        "model_args": {
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "n_embd": config.n_embd,
            "block_size": config.n_ctx,
            "bias": True,
            "vocab_size": config.vocab_size,
            "dropout": config.dropout,
        },
        "iter_num": int(contents.details.get("steps", 0)),
        "best_val_loss": _NO_LOSS,
        "config": {},
    }
    with artifact.whole_file(path) as temporary:
        torch.save(checkpoint, temporary)


def _part(path: Path, checkpoint: Mapping[Any, Any], name: str) -> dict[Any, Any]:
    part = checkpoint.get(name)
    if not isinstance(part, dict):
        raise WholeGPTError(f"{path} is no checkpoint of nanoGPT: it has no dictionary {name}")
    return part


def _config(arguments: Mapping[Any, Any]) -> GPTConfig:
    """Unknown arguments are refused: variants of nanoGPT switch other layers and activations on with them."""
    for name in arguments:
        if name not in _ARGUMENTS:
            raise ValueError(f"model_args holds {name!r}, which nanoGPT does not know")
    dropout = arguments.get("dropout", 0.0)
    if not isinstance(dropout, int | float):
        raise TypeError("dropout is no number")
    return GPTConfig(
        vocab_size=size(arguments["vocab_size"]),
        n_ctx=size(arguments["block_size"]),
        n_embd=size(arguments["n_embd"]),
        n_layer=size(arguments["n_layer"]),
        n_head=size(arguments["n_head"]),
        dropout=float(dropout),
        activation=ACTIVATION,
    )


def _parameters(path: Path, model: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors under our names, without the buffers of the causal mask and the output, which must be tied."""
    tensors: dict[str, Tensor] = {}
    for key, tensor in model.items():
        name = str(key).removeprefix("_orig_mod.").removeprefix(PREFIX)
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        if not isinstance(tensor, Tensor) or tensor.dtype not in _DTYPES:
            raise WholeGPTError(f"{path}: {name!r} is no tensor of floating-point numbers")
        tensors[name] = tensor.detach()
    output = tensors.pop(_OUTPUT, None)
    # Strides of zero, and one storage under many names, let a small file claim a large model.
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > path.stat().st_size:
        raise WholeGPTError(f"{path} claims larger tensors than the file can hold: refused")
    if output is not None and "wte.weight" in tensors and not torch.equal(output, tensors["wte.weight"]):
        raise WholeGPTError(f"{path}: {_OUTPUT} differs from wte.weight, but the output of GPT-2 is its embedding")
    return {name: tensor.t() if is_linear(name) and tensor.dim() == 2 else tensor for name, tensor in tensors.items()}


def _zero_biases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Biases of zero, the width of the outputs, for the layers that have only a weight."""
    return {
        name.removesuffix("weight") + "bias": tensor.new_zeros(tensor.shape[-1])
        for name, tensor in tensors.items()
        if name.endswith(".weight") and name not in ("wte.weight", "wpe.weight") and tensor.dim() > 0
    }


def _plain(name: str, tensor: Tensor) -> Tensor:
    """A float32 tensor in nanoGPT's layout with a storage of its own, because torch.save writes whole storages."""
    tensor = (tensor.t() if is_linear(name) else tensor).detach().to("cpu", torch.float32).contiguous()
    alone = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if alone else tensor.clone()


def _fresh_optimizer(model: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state that nanoGPT's AdamW has before its first step: matrices decay, vectors do not."""
    groups = [
        {"params": [tensor for tensor in model.values() if tensor.dim() >= 2], "weight_decay": _DECAY},
        {"params": [tensor for tensor in model.values() if tensor.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=_BETAS).state_dict()

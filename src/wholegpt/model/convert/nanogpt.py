"""nanoGPT's `ckpt.pt`: a zip archive of a pickle (model, optimizer, model_args, iter_num, best_val_loss, config) and
the values of the tensors.

nanoGPT stores the matrices of layers as [outputs, inputs], the tied output a second time under its own key, with
`bias=False` no biases at all, and computes exact GELU.

The pickle is data here: only what rebuilds a tensor may be called, and what the archive claims is compared with the
file's size before anything is read. Left out: pickles without an archive (PyTorch before 1.6, nanoGPT needs 2.0), and
the moments of the optimizer.
"""

import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
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
_CALLABLE = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    *(("torch", f"{kind}Storage") for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Bool", "Byte")),
}
# Five a tensor; the largest GPT-2 has some 2,300 with its optimizer.
_MOST_TUPLES = 50_000
# As nanoGPT's train.py sets them.
_BETAS, _DECAY, _NO_LOSS = (0.9, 0.95), 0.1, 1e9


def recognises(path: Path) -> bool:
    """Whether the file is called *.pt and begins like something that torch.save wrote."""
    if path.suffix != ".pt" or not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(4)
    return start == b"PK\x03\x04" or start[:1] == b"\x80"


def read(path: Path) -> Contents:
    """The model of a checkpoint; `details` holds the steps that it was trained for.

    The tensors are views into the mapped file, those of layers transposed ones. Raises WholeGPTError naming the file
    and the fault; no code of the file is run.
    """
    _check_archive(path)
    checkpoint = _load(path)
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


def _check_archive(path: Path) -> None:
    """Refuse what would be larger in memory than on the disk, and pickles that call what no checkpoint needs."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, entries)
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or any(entry.filename.endswith("/constants.pkl") for entry in entries):
                raise WholeGPTError(f"{path} is no archive of torch.save (one data.pkl expected)")
            _check_pickle(path, archive.read(pickles[0]))
    except (zipfile.BadZipFile, ValueError, OverflowError, OSError, EOFError, RuntimeError) as error:
        raise WholeGPTError(f"{path} is not a whole archive of torch.save ({type(error).__name__})") from None


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """torch.save compresses nothing and begins with the first entry; a file that begins otherwise may hold two tables
    of contents, of which torch would read another one than zipfile."""
    if not entries or min(entry.header_offset for entry in entries) != 0:
        raise WholeGPTError(f"{path} does not begin with an entry of its archive, as torch.save writes it")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WholeGPTError(f"{path} holds compressed entries, which torch.save never writes: refused")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise WholeGPTError(f"{path} claims to hold more bytes than the file has: refused")
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise WholeGPTError(f"{path} names an entry outside of its archive: {entry.filename!r}")


def _check_pickle(path: Path, content: bytes) -> None:
    """torch refuses foreign code too, but allows bytearray(2**40), and tuples so deep that the process dies."""
    tuples = 0
    with warnings.catch_warnings():
        # An escape sequence in a name, deprecated or not, makes no name that may be called.
        warnings.simplefilter("ignore", DeprecationWarning)
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "PROTO" and argument != 2:
                raise WholeGPTError(f"{path} is a pickle of protocol {argument}; expected 2, which torch.save writes")
            if operation.name == "GLOBAL" and tuple(str(argument).split(" ")) not in _CALLABLE:
                raise WholeGPTError(f"{path} asks for {str(argument)!r}, which no tensor needs: refused")
            tuples += operation.name.startswith("TUPLE")
    if tuples > _MOST_TUPLES:
        raise WholeGPTError(f"{path} holds {tuples} tuples, more than {_MOST_TUPLES}: refused")


def _load(path: Path) -> dict[Any, Any]:
    try:
        checkpoint = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the unpickler runs a program that a broken file can make anything of
        raise WholeGPTError(f"{path} is not a whole checkpoint of nanoGPT ({type(error).__name__})") from None
    if not isinstance(checkpoint, dict):
        raise WholeGPTError(f"{path} is no checkpoint of nanoGPT: it holds a {type(checkpoint).__name__}")
    return checkpoint


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

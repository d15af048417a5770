"""The checkpoints that OpenAI released: a directory of a TensorFlow checkpoint and its sizes, read without TensorFlow.

hparams.json                        sizes
checkpoint                          which checkpoint of the directory is meant; without this file, model.ckpt
model.ckpt.index, model.ckpt.data-* variables, those of a fine-tuned model among the optimizer's
encoder.json, vocab.bpe             vocabulary

Left out on purpose: the vocabulary, which tokenizer/ reads; the optimizer's variables; writing.
"""

import re
from pathlib import Path
from typing import Any

import torch

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import contents
from wholegpt.model.convert.contents import Contents, Shape
from wholegpt.model.convert.tensor_bundle import Bundle, Entry, open_bundle
from wholegpt.model.gpt import GPTConfig

HPARAMS = "hparams.json"
STATE = "checkpoint"
DEFAULT = "model.ckpt"
INDEX = ".index"

# Their keys and ours. A matrix of theirs is [1, inputs, outputs], the kernel of a convolution of width one.
OUTSIDE_OF_BLOCKS = {
    "model/wte": "wte.weight",
    "model/wpe": "wpe.weight",
    "model/ln_f/g": "ln_f.weight",
    "model/ln_f/b": "ln_f.bias",
}
# After `model/h0/` and `h.0.`.
OF_A_BLOCK = {
    "ln_1/g": "ln_1.weight",
    "ln_1/b": "ln_1.bias",
    "attn/c_attn/w": "attn.c_attn.weight",
    "attn/c_attn/b": "attn.c_attn.bias",
    "attn/c_proj/w": "attn.c_proj.weight",
    "attn/c_proj/b": "attn.c_proj.bias",
    "ln_2/g": "ln_2.weight",
    "ln_2/b": "ln_2.bias",
    "mlp/c_fc/w": "mlp.c_fc.weight",
    "mlp/c_fc/b": "mlp.c_fc.bias",
    "mlp/c_proj/w": "mlp.c_proj.weight",
    "mlp/c_proj/b": "mlp.c_proj.bias",
}
BLOCK = re.compile(r"model/h(0|[1-9][0-9]{0,8})/(.+)")
# Counters of training steps; the first that is there counts.
STEPS = ("global_step", "_step")
# The name in the file `checkpoint`, in ASCII and without escapes.
NAMED = re.compile(rb'^\s*model_checkpoint_path\s*:\s*"([ !#-\[\]-~]{0,200}[A-Za-z0-9_-])"\s*$', re.MULTILINE)
STATE_BYTES = 1 << 16


def recognises(path: Path) -> bool:
    """Whether `path` is a checkpoint of this kind: its directory, or the index in it (`model.ckpt.index`)."""
    return path.suffix == INDEX if path.is_file() else (path / HPARAMS).is_file()


def read(path: Path) -> Contents:
    """The checkpoint of a directory, or of an index in it; tensors in the dtype that is stored, no tokenizer.

    Raises WholeGPTError naming the file and the fault. Files that lead out of the directory are refused.
    """
    folder = path.parent if path.is_file() else path
    config = _config(artifact.inside(folder, HPARAMS))
    prefix = _named(folder) if path == folder else path.with_name(path.name.removesuffix(INDEX))
    artifact.inside(folder, f"{prefix.relative_to(folder)}{INDEX}")
    bundle = open_bundle(prefix)
    for shard in bundle.shards.values():
        artifact.inside(folder, str(shard.relative_to(folder)))
    variables = _variables(bundle, config)
    tensors = {name: bundle.read(variables[name]).view(shape) for name, shape in contents.shapes(config)}
    return Contents(config, tensors, details=_steps(bundle))


def _config(path: Path) -> GPTConfig:
    if not path.is_file():
        raise WholeGPTError(f"{path.parent} holds no model that OpenAI released: it has no {path.name}")
    hparams = artifact.read_json(path)

    def size(name: str) -> int:
        if not isinstance(hparams, dict) or type(hparams[name]) is not int:
            raise TypeError(f"{name} is no whole number in it")
        return int(hparams[name])

    return contents.sizes(
        path, lambda: GPTConfig(size("n_vocab"), size("n_ctx"), size("n_embd"), size("n_layer"), size("n_head"))
    )


def _named(folder: Path) -> Path:
    """The prefix that the file `checkpoint` names."""
    state = artifact.inside(folder, STATE)
    if not state.is_file():
        return folder / DEFAULT
    with state.open("rb") as stream:
        match = NAMED.search(stream.read(STATE_BYTES))
    if match is None:
        raise WholeGPTError(f'{state} names no checkpoint, expected a line like model_checkpoint_path: "{DEFAULT}"')
    name = Path(match[1].decode())
    if name.is_absolute() or ".." in name.parts:
        raise WholeGPTError(
            f"{state} names the checkpoint {name}, expected a name in this directory; mend it, or give the path of the "
            f"*{INDEX} that is meant"
        )
    return folder / name


def _variables(bundle: Bundle, config: GPTConfig) -> dict[str, str]:
    """Our names of the parameters and theirs, after a look at dtypes and shapes."""
    found = {name: key for key in bundle.entries if (name := _name(key))}
    contents.check_shapes(bundle.index, config, {name: _shape(bundle.entries[key]) for name, key in found.items()})
    expected = {name for name, _ in contents.shapes(config)}
    for name, key in found.items():
        dtype = bundle.entries[key].dtype
        if name not in expected:
            raise WholeGPTError(f"{bundle.index} holds {key}, which is beyond the {config.n_layer} layers of {HPARAMS}")
        if dtype is None or not dtype.is_floating_point:
            raise WholeGPTError(f"{bundle.index}: {key} has the dtype {dtype or 'of no number'}, expected floats")
    return found


def _name(key: str) -> str | None:
    """Our name of a variable; None for what is no parameter, such as model/wte/Adam or beta1_power."""
    if match := BLOCK.fullmatch(key):
        name = OF_A_BLOCK.get(match[2])
        return name and f"h.{match[1]}.{name}"
    return OUTSIDE_OF_BLOCKS.get(key)


def _shape(entry: Entry) -> Shape:
    """The shape without the 1 of a matrix."""
    return entry.shape[1:] if len(entry.shape) == 3 and entry.shape[0] == 1 else entry.shape


def _steps(bundle: Bundle) -> dict[str, Any]:
    for key in STEPS:
        entry = bundle.entries.get(key)
        if entry and not entry.shape and entry.dtype in (torch.int32, torch.int64):
            return {"steps": int(bundle.read(key))}
    return {}

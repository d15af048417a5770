"""Models on disk: any checkpoint in, Hugging Face's directory out, which is also what training writes."""

import dataclasses
from pathlib import Path

import torch

from wholegpt import sources
from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import formats, huggingface
from wholegpt.model.convert.contents import Contents
from wholegpt.model.gpt import ACTIVATIONS, GPT, GPTConfig
from wholegpt.paper import SIZES
from wholegpt.progress import say
from wholegpt.tokenizer import Tokenizer, files

GPT2 = "gpt2"
# Programs round the vocabulary up to a multiple of 64 or 128, for speed: so many rows without a token may follow.
PADDING_ROWS = 127


def save(folder: Path, model: GPT, tokenizer: Tokenizer | None) -> None:
    """Write a model and its tokenizer as a Hugging Face directory."""
    huggingface.write(folder, Contents(model.config, model.state_dict(), tokenizer))


def load(
    model: str | Path,
    device: str = "auto",
    dtype: str = "auto",
    *,
    tokenizer: str | Path = "",
    activation: str = "",
    vocab_size: int = 0,
) -> tuple[GPT, Tokenizer | None]:
    """Load a run, a checkpoint of any format (a directory or file), or released weights by name, in eval mode.

    `device` auto is a GPU where there is one; `dtype` auto is float32 on a CPU, whatever the file stores, and bfloat16
    on a GPU that has it. Logits are float32 always. The tokenizer is, unless another is named, the one in or beside the
    checkpoint, GPT-2's for a vocabulary of its size, or None. `activation` ("gelu_tanh", "gelu") overrides the file's;
    rows of the vocabulary that pad it are cut to the tokenizer's size, or to `vocab_size`. Raises WholeGPTError naming
    the file and the fault.

    >>> model, tokenizer = load("gpt2")  # doctest: +SKIP
    """
    contents = read(model, tokenizer, activation, vocab_size)
    target = torch.device(choose_device(device))
    with torch.device("meta"):
        built = GPT(contents.config)
    built.load_state_dict(contents.tensors, assign=True)
    return built.to(target, choose_dtype(dtype, target)).eval(), contents.tokenizer


def load_with_tokenizer(
    model: str | Path, device: str = "auto", dtype: str = "auto", tokenizer: str | Path = ""
) -> tuple[GPT, Tokenizer]:
    """`load` for those who need to read text: WholeGPTError where the checkpoint has no tokenizer and none is named."""
    built, found = load(model, device, dtype, tokenizer=tokenizer)
    if found is None:
        raise WholeGPTError(
            f"{model} has no tokenizer beside it, and its vocabulary of {built.config.vocab_size} entries is not "
            "GPT-2's; name one with --tokenizer"
        )
    return built, found


def find(model: str | Path) -> Path:
    """Where a model is: the path itself, or the files of released weights, which are fetched if need be."""
    path = Path(model)
    if path.exists():
        return path
    name = sources.ALIASES.get(str(model), str(model))
    if name not in {size.name for size in SIZES}:
        known = ", ".join(size.name for size in SIZES)
        raise WholeGPTError(f"{model} does not exist; expected a run, a checkpoint, or released weights: {known}")
    return sources.fetch(name)


def read(model: str | Path, tokenizer: str | Path = "", activation: str = "", vocab_size: int = 0) -> Contents:
    """What `load` loads, in the precision of the file and on the CPU."""
    path = find(model)
    contents = formats.read(path)
    found = _tokenizer(path, contents, tokenizer)
    size = vocab_size or (found.vocab_size if found else contents.config.vocab_size)
    rows = contents.config.vocab_size
    if size > rows or (not vocab_size and rows - size > PADDING_ROWS):
        owner = f"--vocab-size is {size}" if vocab_size else f"the tokenizer has {size} entries"
        raise WholeGPTError(f"{path}: {owner}, the model {rows}: they do not belong together")
    if found and size != found.vocab_size:
        raise WholeGPTError(f"--vocab-size is {size}, but the tokenizer has {found.vocab_size} entries")
    if activation not in ("", *ACTIVATIONS):
        raise WholeGPTError(f"activation {activation} is unknown; expected {' or '.join(ACTIVATIONS)}")
    activation = activation or contents.config.activation
    config = dataclasses.replace(contents.config, vocab_size=size, activation=activation)
    tensors = contents.tensors | {"wte.weight": contents.tensors["wte.weight"][:size]}
    return Contents(config, tensors, found, contents.details)


def _tokenizer(path: Path, contents: Contents, named: str | Path) -> Tokenizer | None:
    if named:
        return Tokenizer.load(named)
    folder = path if path.is_dir() else path.parent
    if contents.tokenizer or files.lie_in(folder):
        return contents.tokenizer or Tokenizer.load(folder)
    if not GPTConfig.vocab_size <= contents.config.vocab_size <= GPTConfig.vocab_size + PADDING_ROWS:
        return None
    try:
        return Tokenizer.load(GPT2)
    except WholeGPTError as error:
        say(f"without a tokenizer: {error}")
        return None


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

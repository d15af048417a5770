"""`wholegpt convert`: a checkpoint of any format becomes one of another, and is checked before it gets its name."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from wholegpt.artifact import Artifact
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.model import checkpoint
from wholegpt.model.convert import formats, gguf, huggingface, llmc, nanogpt
from wholegpt.model.convert.contents import Contents
from wholegpt.model.gpt import GPT
from wholegpt.progress import say
from wholegpt.tokenizer import Tokenizer, files

Q8_0 = "q8_0"
# Precisions in llama.cpp's names.
GGUF = {"float32": "F32", "float16": "F16", Q8_0: "Q8_0"}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
OPENAI_VOCABULARY = "openai-vocab"


@dataclass(frozen=True)
class Target:
    """A format that is written: the file in the directory, precisions it has, what its programs compute."""

    file: str
    dtypes: tuple[str, ...]
    """The first is taken for what is stored in another one."""
    write: Callable[[Path, Contents, str], None]
    """From path, contents, precision."""
    activation: str = ""
    """The only one that its programs know; empty: the format says which."""


TARGETS = {
    "hf": Target("", tuple(DTYPES), lambda path, contents, _: huggingface.write(path, contents)),
    "gguf": Target(
        formats.IN_DIRECTORIES["gguf"],
        tuple(GGUF),
        lambda path, contents, dtype: gguf.write(path, contents, GGUF[dtype]),
        gguf.ACTIVATION,
    ),
    "nanogpt": Target(
        formats.IN_DIRECTORIES["nanogpt"],
        ("float32",),
        lambda path, contents, _: nanogpt.write(path, contents),
        nanogpt.ACTIVATION,
    ),
    "llmc": Target(formats.IN_DIRECTORIES["llmc"], tuple(llmc.VERSIONS), llmc.write, llmc.ACTIVATION),
}

# What is compared: so many sequences of so many tokens. Equal parameters may be summed up in another order; rounded
# ones move the logits by a part of their standard deviation.
CHECKED_SEQUENCES, CHECKED_TOKENS = 2, 64
LARGEST_DIFFERENCE, LARGEST_ROUNDED = 1e-4, 0.2


@dataclass(frozen=True)
class ConvertOptions:
    """Turn a checkpoint of any format into another; what is written is read again and compared (section 2.3)."""

    model: tyro.conf.Positional[str]
    """A checkpoint (Hugging Face, OpenAI, nanoGPT, llm.c, GGUF), a run, or gpt2, gpt2-medium, gpt2-large, gpt2-xl."""
    to: str
    """hf, gguf, nanogpt, llmc, or openai-vocab (encoder.json and vocab.bpe alone)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    dtype: str = ""
    """float32, float16, bfloat16, q8_0 (gguf only); default: as stored, as far as the format can."""
    tokenizer: str = ""
    """A directory with a tokenizer, or gpt2, where the checkpoint has none beside it."""
    vocab_size: int = 0
    """Entries to keep, where the vocabulary is padded and no tokenizer tells its size."""
    activation: str = ""
    """gelu_tanh or gelu, if it is not what the format says."""
    check: bool = True
    """Compare the logits of what was written before it is done."""
    overwrite: bool = False
    """Replace what was made otherwise."""

    def __post_init__(self) -> None:
        known = (*TARGETS, OPENAI_VOCABULARY)
        if self.to not in known:
            raise UsageError(f"--to is {self.to}, expected one of {', '.join(known)}")
        dtypes = TARGETS[self.to].dtypes if self.to in TARGETS else ()
        if self.dtype and self.dtype not in dtypes:
            raise UsageError(f"--dtype is {self.dtype}, but {self.to} has {', '.join(dtypes) or 'no precision'}")


def convert(options: ConvertOptions) -> Artifact:
    """Write the directory; its manifest holds the largest difference of a logit."""
    artifact = Artifact(options.output, "convert", options, [checkpoint.find(options.model)], options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    with artifact.write() as folder:
        if options.to == OPENAI_VOCABULARY:
            _vocabulary(options).save_as_released(folder)
        else:
            artifact.counts = _convert(options, folder)
    return artifact


def _vocabulary(options: ConvertOptions) -> Tokenizer:
    path = checkpoint.find(options.model)
    if options.tokenizer or files.lie_in(path):
        return Tokenizer.load(options.tokenizer or path)
    found = checkpoint.read(path).tokenizer
    if not found:
        raise WholeGPTError(f"{path} has no tokenizer; name one with --tokenizer")
    return found


def _convert(options: ConvertOptions, folder: Path) -> dict[str, float | str]:
    target = TARGETS[options.to]
    contents = checkpoint.read(options.model, options.tokenizer, options.activation, options.vocab_size)
    stored = str(contents.tensors["wte.weight"].dtype).removeprefix("torch.")
    dtype = options.dtype or (stored if stored in target.dtypes else target.dtypes[0])
    if target.activation not in ("", contents.config.activation):
        say(
            f"programs that read {options.to} compute {target.activation}, this model {contents.config.activation}: "
            "there its logits will differ by about 0.001"
        )
    path = folder / target.file
    target.write(path, _rounded(contents, dtype), dtype)
    if target.file and contents.tokenizer and options.to != "gguf":  # the others carry it in their one file
        contents.tokenizer.save(folder)
    facts: dict[str, float | str] = {"format": options.to, "dtype": dtype}
    if options.check:
        exact = dtype == "float32" or dtype == stored
        facts["largest_logit_difference"] = _check(path, contents, exact)
    return facts


def _rounded(contents: Contents, dtype: str) -> Contents:
    if dtype not in DTYPES:
        return contents
    tensors = {name: tensor.to(DTYPES[dtype]) for name, tensor in contents.tensors.items()}
    return dataclasses.replace(contents, tensors=tensors)


def _check(path: Path, contents: Contents, exact: bool) -> float:
    """The largest difference of a logit between what was meant and what was written, under the same activation."""
    written = formats.read(path)
    same = dataclasses.replace(written.config, activation=contents.config.activation)
    before, after = _logits(contents), _logits(dataclasses.replace(written, config=same))
    difference = float((before - after).abs().max())
    allowed = LARGEST_DIFFERENCE if exact else LARGEST_ROUNDED * float(before.std())
    if not difference <= allowed:
        raise WholeGPTError(
            f"{path} was written, but computes logits that differ by {difference:.3g} (allowed: {allowed:.3g}); "
            "this is a fault of wholegpt: please report it"
        )
    say(f"checked: read again, its logits differ by at most {difference:.2g}")
    return difference


def _logits(contents: Contents) -> Tensor:
    """Logits of fixed pseudo-random sequences, in float32."""
    config = contents.config
    with torch.device("meta"):
        model = GPT(config)
    model.load_state_dict(contents.tensors, assign=True)
    generator = torch.Generator().manual_seed(0)
    tokens = min(CHECKED_TOKENS, config.n_ctx)
    ids_BT = torch.randint(config.vocab_size, (CHECKED_SEQUENCES, tokens), generator=generator)
    with torch.inference_mode():
        logits_BTV: Tensor = model.float().eval()(ids_BT)
    return logits_BTV

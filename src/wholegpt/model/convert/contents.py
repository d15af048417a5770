"""What a checkpoint holds, whatever its format: the ground that the formats share.

A reader turns a file or directory into `Contents`, a writer the reverse. Names and layouts of the tensors are those of
`GPT.state_dict()`, which are the released ones: `wte.weight`, `h.0.attn.c_attn.weight` [inputs, outputs], ...
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from wholegpt.errors import WholeGPTError
from wholegpt.model.gpt import GPTConfig
from wholegpt.tokenizer import Tokenizer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """A model's sizes and parameters; the tokenizer, where the format carries one; what else it says of itself."""

    config: GPTConfig
    tensors: dict[str, Tensor]
    tokenizer: Tokenizer | None = None
    details: dict[str, Any] = field(default_factory=dict)
    """Facts for people, such as {"steps": 600000}."""


def shapes(config: GPTConfig) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every parameter, one after another: a lying number of layers costs no memory."""
    width = config.n_embd
    yield "wte.weight", (config.vocab_size, width)
    yield "wpe.weight", (config.n_ctx, width)
    for layer in range(config.n_layer):
        yield from ((f"h.{layer}.{name}", shape) for name, shape in _block_shapes(width))
    yield "ln_f.weight", (width,)
    yield "ln_f.bias", (width,)


def _block_shapes(width: int) -> Iterator[tuple[str, Shape]]:
    for norm in ("ln_1", "ln_2"):
        yield f"{norm}.weight", (width,)
        yield f"{norm}.bias", (width,)
    matrices = {"attn.c_attn": (1, 3), "attn.c_proj": (1, 1), "mlp.c_fc": (1, 4), "mlp.c_proj": (4, 1)}
    for name, (inputs, outputs) in matrices.items():
        yield f"{name}.weight", (inputs * width, outputs * width)
        yield f"{name}.bias", (outputs * width,)


def is_linear(name: str) -> bool:
    """Whether a parameter is the matrix of a layer, which many formats store transposed, as [outputs, inputs]."""
    return name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


def size(value: Any) -> int:
    """A size that a file states; TypeError or ValueError, for `sizes`, where it cannot be one."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a size is of the type {type(value).__name__}, expected a whole number")
    if not 1 <= value < 2**31:
        raise ValueError("a size is not between 1 and 2147483647")
    return value


def check_epsilon(config: GPTConfig, program: str) -> None:
    """WholeGPTError where a model needs another epsilon than the one that stands in `program`'s code."""
    if config.layer_norm_epsilon != GPTConfig.layer_norm_epsilon:
        raise WholeGPTError(
            f"{program} computes layer norms with the epsilon {GPTConfig.layer_norm_epsilon}, "
            f"the model with {config.layer_norm_epsilon}: it would compute something else"
        )


def check_shapes(path: Path, config: GPTConfig, found: Mapping[str, Shape]) -> None:
    """WholeGPTError that names the first parameter of `config` that `path` lacks or holds in another shape."""
    for name, shape in shapes(config):
        if name not in found:
            raise WholeGPTError(f"{path} lacks the tensor {name}")
        if tuple(found[name]) != shape:
            raise WholeGPTError(f"{path}: {name} has the shape {list(found[name])}, expected {list(shape)}")


def check_no_others(path: Path, config: GPTConfig, found: Mapping[str, Any]) -> None:
    """WholeGPTError that names a tensor of `path` that GPT-2 has no use for; after `check_shapes`."""
    others = found.keys() - {name for name, _ in shapes(config)}
    if others:
        raise WholeGPTError(f"{path} holds the tensor {min(others)!r}, which a GPT-2 of its sizes does not have")


def sizes(path: Path, build: Callable[[], GPTConfig]) -> GPTConfig:
    """The configuration that `build` makes of what stands in `path`; WholeGPTError where it is not GPT-2's."""
    try:
        return build()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        fault = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise WholeGPTError(f"{path} is not the configuration of a GPT-2: {fault}") from None

"""`wholegpt train --dry-run`: what a training takes, from its options alone; no model is made and no shard is needed.

Memory is that of eager PyTorch, when the backward pass of a later micro-batch of a step begins, on a device that holds
the whole model (one, or each rank of DDP). With N tokens in a micro-batch, width D, vocabulary V, in bytes:

    weights       4 a parameter; in half precision 2 more for the copy of each matrix
    gradients     4 a parameter, and of the embedding a second time, until it is added to the first
    optimizer     8 a parameter (adamw); 4 for each in the matrices of the blocks (muon)
    activations   a layer keeps for each token the residual stream twice (4 D each) and, in the products' precision,
                  what goes into c_attn (D), attention (3 D), c_proj (D), c_fc (D), GELU (4 D), c_proj (4 D)
    logits        as many as `loss.py` makes at a time, and the gradient of its input

Left out: dropout's masks, what a compiler saves, the temporary matrices of Muon.
"""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from wholegpt import artifact, compiled
from wholegpt.documents import TRAIN
from wholegpt.model import checkpoint
from wholegpt.model.convert.contents import shapes
from wholegpt.model.gpt import GPTConfig
from wholegpt.tokenizer import Tokenizer
from wholegpt.training import flops, probe
from wholegpt.training.loss import LOGITS_AT_A_TIME

if TYPE_CHECKING:
    from wholegpt.training.loop import TrainOptions

# The share of peak that the time is stated for: what plain PyTorch reaches with the smallest model on H100s (PaLM's
# convention), and what this package reaches on a CPU.
UTILISATION = {"cuda": 0.40, "cpu": 0.65}
# What training is said to take elsewhere: one node.
NODE, NODE_DEVICES = "H100", 8
# Share of a device's memory to plan with: the rest is for PyTorch itself and for fragments. On a CPU the system's heap
# has been seen to hold half as much again as the tensors.
USABLE = {"cuda": 0.9, "cpu": 0.6}


@dataclass(frozen=True)
class Memory:
    """Bytes by part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def parameter_count(config: GPTConfig) -> int:
    """Parameters of a model of these sizes, the tied embedding counted once.

    >>> parameter_count(GPTConfig())
    124439808
    """
    return sum(_count(shape) for _, shape in shapes(config))


def memory(
    config: GPTConfig,
    micro_batch_size: int,
    optimizer: str = "adamw",
    half: bool = False,
    device: str = "cuda",
    checkpointing: bool = False,
) -> Memory:
    """Bytes on a device while it trains; `half` for products in bfloat16 or float16, see the module."""
    D, V, L, tokens = config.n_embd, config.vocab_size, config.n_layer, micro_batch_size * config.n_ctx
    parameters, blocks = parameter_count(config), 12 * L * D**2
    by_muon = blocks if optimizer == "muon" else 0
    layer = tokens * ((2 * 4 + 14 * (2 if half else 4)) * D + 4 * config.n_head)
    kept = layer + L * tokens * 4 * D if checkpointing else L * layer
    logits = min(tokens * V, max(V, LOGITS_AT_A_TIME.get(device, LOGITS_AT_A_TIME["cpu"])))
    return Memory(
        weights=4 * parameters + (2 * (blocks + V * D) if half else 0),
        gradients=4 * (parameters + V * D),
        optimizer=8 * parameters - 4 * by_muon,
        activations=kept + 2 * 4 * tokens * D,
        logits=(6 if half else 4) * logits + 4 * tokens * D,
    )


def largest_micro_batch(available_bytes: float, batch_size: int, need: Callable[[int], Memory]) -> int:
    """The most windows that divide the batch and fit; 0 where not even one does."""
    divisors = (windows for windows in range(1, batch_size + 1) if batch_size % windows == 0)
    return max((windows for windows in divisors if need(windows).total <= available_bytes), default=0)


def show(options: "TrainOptions") -> None:
    """Print the plan of a training, of the model that the shards' vocabulary asks for (without shards: GPT-2's)."""
    known = (options.shards / artifact.MANIFEST).is_file()
    config = options.model_config(Tokenizer.load(options.shards).vocab_size if known else GPTConfig.vocab_size)
    device = "cuda" if options.memory_gb else checkpoint.choose_device(options.device).partition(":")[0]
    half = _precision(options, device) != "float32"
    tokens = options.steps * options.batch_size * options.n_ctx
    exact, palm = (count(config, options.n_ctx) for count in (flops.exact_flops, flops.palm_flops))
    print(
        f"model           {config.n_layer} layers x {config.n_embd}, {config.n_head} heads, windows of "
        f"{config.n_ctx:,} tokens, vocabulary {config.vocab_size:,}\n"
        f"parameters      {parameter_count(config):,}\n"
        f"tokens          {tokens:,}: {options.steps:,} steps x {options.batch_size} windows"
        f"{_epochs(options.shards, tokens) if known else f', {options.shards} is not there'}\n"
        f"operations      {tokens * exact:.3g} FLOP; in PaLM's convention {tokens * palm:.3g} "
        f"({exact / 1e9:.3g} and {palm / 1e9:.3g} GFLOP a token)"
    )
    _show_memory(options, config, device, half)
    _show_time(options, config, device, half)


def _show_memory(options: "TrainOptions", config: GPTConfig, device: str, half: bool) -> None:
    def need(windows: int, checkpointing: bool = False) -> Memory:
        return memory(config, windows, options.optimizer, half, device, checkpointing)

    parts, products = need(options.micro_batch_size), "half precision" if half else "float32"
    listed = ", ".join(f"{name} {_gigabytes(size)}" for name, size in dataclasses.asdict(parts).items())
    print(
        f"memory          {_gigabytes(parts.total)} a device: {options.micro_batch_size} windows at a time, "
        f"products in {products}\n                {listed}"
    )
    available, usable = 1e9 * options.memory_gb or _device_bytes(device), USABLE.get(device, USABLE["cpu"])
    if not available:
        return
    most = largest_micro_batch(usable * available, options.batch_size, need)
    twice = largest_micro_batch(usable * available, options.batch_size, lambda windows: need(windows, True))
    print(
        f"fits            {usable:.0%} of {_gigabytes(available)}: --micro-batch-size {most}, or {twice} where each "
        f"block computes its activations twice{'' if twice else ': nothing fits'}"
    )


def _show_time(options: "TrainOptions", config: GPTConfig, device: str, half: bool) -> None:
    """At a stated utilisation: on a node of GPUs, where it would be worth one, and on the device here."""
    work = options.steps * options.batch_size * options.n_ctx * flops.palm_flops(config, options.n_ctx)
    share, peak = UTILISATION["cuda"], flops.PEAKS[NODE]
    hours = work / (share * peak * NODE_DEVICES) / 3600
    if hours > 1 / 60 or options.memory_gb:
        print(
            f"time            {_duration(hours)} on {NODE_DEVICES} x {NODE} at an MFU of {share:.0%} (PaLM) of "
            f"{peak / 1e12:.0f} TFLOP/s: {_short(hours * NODE_DEVICES)} GPU-hours"
        )
    if options.memory_gb or device not in UTILISATION:
        return
    share, threads = UTILISATION[device], options.threads or compiled.threads()
    peak = _cpu_peak(half) * threads if device == "cpu" else flops.peak_flops(torch.device(device), _dtype(half))
    print(
        f"time            {_duration(work / (share * peak) / 3600)} on this {device}"
        f"{f', {threads} free cores' if device == 'cpu' else ''}, at {share:.0%} of {peak / 1e12:.3g} TFLOP/s"
    )


def _cpu_peak(half: bool) -> float:
    """FLOP/s of one thread: several would wait for each other where something else runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return flops.measured_flops(torch.device("cpu"), getattr(torch, _dtype(half)))
    finally:
        torch.set_num_threads(before)


def _dtype(half: bool) -> str:
    return "bfloat16" if half else "float32"


def _precision(options: "TrainOptions", device: str) -> str:
    """What `--precision auto` will be: half precision on a GPU, on a CPU what is faster."""
    if options.precision != "auto":
        return options.precision
    return "bfloat16" if device == "cuda" or (device == "cpu" and probe.bfloat16_is_faster()) else "float32"


def _epochs(shards: Path, tokens: int) -> str:
    there = artifact.read_manifest(shards)["counts"][TRAIN]["tokens"]
    return f", {tokens / there:.3g} times the {there:,} in {shards}"


def _device_bytes(device: str) -> float:
    """Memory of the present device; 0 where the system does not tell."""
    if device == "cuda":
        return float(torch.cuda.get_device_properties(0).total_memory)
    if device == "cpu" and hasattr(os, "sysconf"):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return 0.0


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{_short(hours / 24)} days"
    return f"{_short(hours)} hours" if hours >= 1 else f"{_short(hours * 60)} minutes"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _count(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) == 2 else 1)

"""Training on one GPU: tokens a second and utilisation of the four sizes, time by part, bfloat16 against float32.

    python bench/training_gpu.py [--nanogpt nanoGPT/model.py] [--sizes 124M 355M 774M 1558M] [--steps 20]

Windows of 1,024 tokens, as many at a time as `wholegpt train --dry-run` says fit, up to 64; model and loss compiled;
gradients clipped, AdamW fused. nanoGPT, compiled, with its vocabulary of 50,304, steps in turn with ours on the same
windows. Utilisation of the GPU's nominal bfloat16 peak, in both conventions (`training/flops.py`). The text is made:
each token depends on the one before it, so that there is something to learn. Without a GPU the same code runs at a
tiny shape on the CPU, uncompiled, to show that it is whole: those times mean nothing.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from peers import training as peers
from torch import Tensor, nn

from wholegpt.model.gpt import GPTConfig
from wholegpt.paper import SIZES
from wholegpt.training import flops, plan

NAMES = dict(zip(("124M", "355M", "774M", "1558M"), SIZES, strict=True))
TINY = GPTConfig(300, n_ctx=32, n_embd=32, n_layer=2, n_head=2)
PADDED, WARM_UP, COMPARED_STEPS, MOST_WINDOWS = 128, 5, 200, 64


def windows(config: GPTConfig, count: int, device: str, seed: int) -> Tensor:
    """A text in which four tokens may follow each, equally likely: at best a loss of ln 4 = 1.386."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 4, (config.n_ctx + 1, count), generator=generator)
    ids = [torch.randint(0, config.vocab_size, (count,), generator=generator)]
    for step in noise[1:]:
        ids.append((5 * ids[-1] + step) % config.vocab_size)
    return torch.stack(ids, 1).to(device)


def seconds_of(work: Callable[[], object], device: str) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def speed(options: argparse.Namespace, name: str, config: GPTConfig) -> None:
    """Steps in turn with nanoGPT; the median."""
    on_gpu = options.device == "cuda"
    count = 2
    if on_gpu:
        available = (
            plan.USABLE["cuda"] * torch.cuda.get_device_properties(0).total_memory / (2 if options.nanogpt else 1)
        )
        count = plan.largest_micro_batch(available, MOST_WINDOWS, lambda size: plan.memory(config, size, half=True))
    weights = peers.random_model(config).to(options.device)
    trainees = {"wholegpt": peers.wholegpt(weights, "bfloat16", on_gpu, multiple=PADDED if on_gpu else 1)}
    if options.nanogpt:
        wider = replace(config, vocab_size=50_304) if on_gpu else config
        theirs = weights if wider == config else peers.random_model(wider).to(options.device)
        trainees["nanogpt"] = peers.nanogpt(theirs, "bfloat16", on_gpu, options.nanogpt)
    batch = windows(config, count, options.device, 0)
    times: dict[str, list[float]] = {peer: [] for peer in trainees}
    for step in range(WARM_UP + options.steps):
        for peer, trainee in trainees.items():
            taken = seconds_of(functools.partial(trainee.step, batch), options.device)
            times[peer] += [taken] if step >= WARM_UP else []
    for peer, taken in times.items():
        tokens = batch[:, 1:].numel() / statistics.median(taken)
        utilisation = ""
        if on_gpu:
            peak = flops.peak_flops(torch.device("cuda"), "bfloat16")
            palm, exact = (of(config, config.n_ctx) * tokens / peak for of in (flops.palm_flops, flops.exact_flops))
            utilisation = f"  MFU {palm:.1%} PaLM, {exact:.1%} exact"
        print(f"{name:>6} {peer:<9} {count:>3} windows{tokens:>12,.0f} tokens/s{utilisation}", flush=True)
    if on_gpu:
        print(f"       peak of all together {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
        torch.cuda.reset_peak_memory_stats()
    for part, share in parts(trainees["wholegpt"], batch, options.device):
        print(f"       {part:<24}{share:>6.1%}")


def parts(trainee: peers.Trainee, batch: Tensor, device: str) -> Iterator[tuple[str, float]]:
    """Shares of a step's time; the gradients of logits are made with the loss."""
    losses: list[Tensor] = []
    steps: dict[str, Callable[[], object]] = {
        "forward, loss": lambda: losses.append(trainee.loss(batch)),
        "backward": lambda: losses[-1].backward(),
        "clip": lambda: nn.utils.clip_grad_norm_(trainee.model.parameters(), peers.CLIP),
        "optimizer": lambda: [(stepper.step(), stepper.zero_grad()) for stepper in trainee.steppers],
    }
    taken = {part: seconds_of(work, device) for part, work in steps.items()}
    yield from ((part, seconds / sum(taken.values())) for part, seconds in taken.items())


def precisions(options: argparse.Namespace, config: GPTConfig) -> None:
    """The loss after the same steps in bfloat16 and in float32."""
    weights = peers.random_model(config).to(options.device)
    found = {}
    for precision in ("float32", "bfloat16"):
        trainee = peers.wholegpt(weights, precision, options.device == "cuda")
        for step in range(COMPARED_STEPS if options.device == "cuda" else options.steps):
            found[precision] = float(trainee.step(windows(config, 8, options.device, step)))
    print(f"loss after {step + 1} steps: float32 {found['float32']:.4f}, bfloat16 {found['bfloat16']:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, help="nanoGPT's model.py")
    parser.add_argument("--sizes", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cpu":
        print("no GPU: a self-test at a tiny shape on the CPU, its times mean nothing")
        options.steps = min(options.steps, 4)
        speed(options, "tiny", TINY)
        precisions(options, TINY)
        return
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for name in options.sizes:
        size = NAMES[name]
        speed(options, name, GPTConfig(n_embd=size.n_embd, n_layer=size.n_layer, n_head=size.n_head))
        torch.cuda.empty_cache()
    precisions(options, GPTConfig())


if __name__ == "__main__":
    main()

"""A training step beside other people's: model, loss, gradients, clipping, optimizer, in float32 on one thread.

    python bench/training.py [--nanogpt nanoGPT/model.py] [--compile] [--shapes tiny small] [--rounds 20]

nanoGPT's model.py is public (github.com/karpathy/nanoGPT) and no part of this repository. All start from the same
weights and see the same batches; how far their losses lie from ours, in the first step and the last, stands in the
table. They step in turn in one process; times are the processor's for this process. The ratio says how many times
faster than the first row a row is: of the best, and the median over rounds. Beside it the share of the machine's peak
(the best product of two 1,024 x 1,024 matrices in the same rounds; operations in the exact convention of
`wholegpt train --dry-run`), and the peak memory of two steps in a process of its own. nanoGPT computes the exact GELU,
transformers by default GPT-2's approximation: one table for each. Peers that are not there are left out and named.
"""

import argparse
import functools
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import training as peers
from torch import Tensor

from wholegpt.model.gpt import ACTIVATIONS, GPT, GPTConfig
from wholegpt.training import flops, probe

# layers, width, heads, context, vocabulary, windows
SHAPES = {"tiny": (4, 128, 4, 128, 2048, 16), "small": (6, 384, 6, 256, 8192, 2)}
PRODUCT = 1024
Build = Callable[[GPT], peers.Trainee]


def config(shape: str, activation: str) -> tuple[GPTConfig, int]:
    """The sizes, and the windows of a batch."""
    n_layer, n_embd, n_head, n_ctx, vocab_size, windows = SHAPES[shape]
    sizes = GPTConfig(vocab_size, n_ctx=n_ctx, n_embd=n_embd, n_layer=n_layer, n_head=n_head, activation=activation)
    return sizes, windows


def variants(options: argparse.Namespace, activation: str) -> dict[str, Build]:
    """Name: how it is built from the weights; the first is what the others are compared with."""
    found: dict[str, Build] = {}

    def add(name: str, build: Callable[..., peers.Trainee], precision: str = "float32", **more: object) -> None:
        for compiled in (False, True) if options.compile else (False,):
            label = f"{name}, compiled" if compiled else name
            found[label] = lambda weights, compiled=compiled: build(weights, precision, compiled, **more)

    if options.nanogpt and activation == "gelu":
        add("nanogpt", peers.nanogpt, source=options.nanogpt)
        add("nanogpt, fused AdamW", peers.nanogpt, source=options.nanogpt, fused=True)
    if importlib.util.find_spec("transformers"):
        add("transformers", peers.transformers)
    if importlib.util.find_spec("litgpt") and activation == "gelu":
        add("litgpt, another block", peers.litgpt)
    add("wholegpt", peers.wholegpt)
    add("wholegpt, all logits", peers.wholegpt, plain=True)
    if probe.bfloat16_is_faster():
        add("wholegpt, bfloat16", peers.wholegpt, "bfloat16")
    return found


def batch(sizes: GPTConfig, windows: int, number: int) -> Tensor:
    """Random tokens: the time does not depend on them."""
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, sizes.vocab_size, (windows, sizes.n_ctx + 1), generator=generator)


def compare(options: argparse.Namespace, shape: str, activation: str) -> None:
    """Print the table of one shape."""
    sizes, windows = config(shape, activation)
    weights, matrix = peers.random_model(sizes), torch.ones(PRODUCT, PRODUCT)
    trainees = {name: build(weights) for name, build in variants(options, activation).items()}
    firsts = {name: float(trainee.step(batch(sizes, windows, 0))) for name, trainee in trainees.items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainees}
    lasts, products = dict(firsts), []
    for number in range(1, options.rounds + 1):
        windows_BT = batch(sizes, windows, number)
        products.append(seconds_of(lambda: matrix @ matrix)[0])
        turn = number % len(trainees)
        for name in [*trainees][turn:] + [*trainees][:turn]:
            taken, loss = seconds_of(functools.partial(trainees[name].step, windows_BT))
            seconds[name].append(taken)
            lasts[name] = float(loss)
    peak = 2 * PRODUCT**3 / min(products)
    share = flops.exact_flops(sizes, sizes.n_ctx) * windows * sizes.n_ctx / peak
    print(
        f"\n{shape}, {activation}: {sizes.n_layer} x {sizes.n_embd}, {windows} windows of {sizes.n_ctx} tokens, "
        f"vocabulary {sizes.vocab_size:,}; {options.rounds} rounds; peak {peak / 1e9:.0f} GFLOP/s\n"
        f"  {'':<32}  best ms  median  tokens/s  of peak  ratio, median      MB  loss less ours, first, last"
    )
    first, tokens = next(iter(seconds.values())), windows * sizes.n_ctx
    for name, times in seconds.items():
        best, middle = min(times), statistics.median(times)
        ratio = statistics.median(theirs / own for theirs, own in zip(first, times, strict=True))
        memory = memory_of(options, shape, activation, name)
        print(
            f"  {name:<32}{best * 1e3:9.1f}{middle * 1e3:8.1f}{tokens / best:10,.0f}{share / best:9.0%}"
            f"{min(first) / best:7.3f} {ratio:7.3f}{memory:8,.0f}"
            f"  {firsts[name] - firsts['wholegpt']:+.1e} {lasts[name] - lasts['wholegpt']:+.1e}",
            flush=True,
        )


def seconds_of(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def memory_of(options: argparse.Namespace, shape: str, activation: str, name: str) -> float:
    """Peak memory of two steps in a process of its own, above what it held before the model [MB]."""
    command = [sys.executable, __file__, "--shapes", shape, "--job", activation, name]
    command += ["--nanogpt", str(options.nanogpt)] if options.nanogpt else []
    command += ["--compile"] if options.compile else []
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(found.stdout.splitlines()[-1]))


def resident_mb(key: str) -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if key in line) / 1024


def measure_memory(options: argparse.Namespace) -> None:
    activation, name = options.job
    sizes, windows = config(options.shapes[0], activation)
    build = variants(options, activation)[name]
    before = resident_mb("VmRSS")
    trainee = build(peers.random_model(sizes))
    for number in range(2):
        trainee.step(batch(sizes, windows, number))
    print(json.dumps(resident_mb("VmHWM") - before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, help="nanoGPT's model.py")
    parser.add_argument("--compile", action="store_true", help="compiled as well")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.job:
        measure_memory(options)
        return
    absent = [name for name in ("transformers", "litgpt") if not importlib.util.find_spec(name)]
    absent += [] if options.nanogpt else ["nanogpt (--nanogpt)"]
    print(f"torch {torch.__version__}; absent: {', '.join(absent) or 'none'}; bfloat16 "
          f"{'is' if probe.bfloat16_is_faster() else 'is not'} faster on this processor")  # fmt: skip
    for shape in options.shapes:
        for activation in reversed(ACTIVATIONS):
            compare(options, shape, activation)


if __name__ == "__main__":
    main()

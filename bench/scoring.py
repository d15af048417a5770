"""Log-likelihoods and generation beside other people's: lm-evaluation-harness and transformers, GPT-2 124M's shape.

    python bench/scoring.py [--rounds 3] [--parts cloze choices generation memory] [--threads 1]

All have the same random weights and see the same ids, in float32; they work in turn in one process. Times on one thread
are the processor's for this process, on several the clock's. `cloze` is like LAMBADA: 64 requests of about 80 tokens
and 1 to 3 to score. `choices`: 10 contexts of about 80 tokens with 4 continuations of 8 to 24. `generation`: 16 prompts
of 20 to 120 tokens that are continued greedily by 8 to 48. The harness is its HFLM over transformers' model, with its
default batch of one request and with 16; transformers' own batches are padded on the left. The ratio says how many
times as long as ours a peer takes, median over rounds; beside it how far its results lie from ours. `memory`: peak of
scoring 8 windows of 1,024 tokens above the model's own, each in a process of its own, by how many tokens go through the
model at once. Peers that are not there are named.
"""

import argparse
import importlib.util
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peers import scoring as peers
from peers.training import random_model

from wholegpt.inference import engine, scoring
from wholegpt.inference.requests import Continuation, Generation, Window
from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.tokenizer import Tokenizer

SIZES = GPTConfig()
HARNESS_BATCHES = (1, 16)
MEMORY_BUDGETS = (1024, 4096, 8192)
MEMORY_WINDOWS = 8
OURS = "wholegpt"


def cloze() -> list[Continuation]:
    rng = random.Random(0)
    return [Continuation(ids(rng, rng.randint(70, 90)), ids(rng, rng.randint(1, 3))) for _ in range(64)]


def choices() -> list[Continuation]:
    rng = random.Random(1)
    contexts = [ids(rng, rng.randint(70, 90)) for _ in range(10)]
    return [Continuation(context, ids(rng, rng.randint(8, 24))) for context in contexts for _ in range(4)]


def prompts() -> list[Generation]:
    rng = random.Random(2)
    return [Generation(ids(rng, rng.randint(20, 120)), rng.randint(8, 48)) for _ in range(16)]


def ids(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(SIZES.vocab_size - 1) for _ in range(count))


def now() -> float:
    """On one thread other programs on the machine do not count."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def in_turn(works: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each in each round, and its last result; who begins changes."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    results: dict[str, Any] = {}
    for number in range(rounds):
        turn = number % len(works)
        for name in [*works][turn:] + [*works][:turn]:
            start = now()
            results[name] = works[name]()
            seconds[name].append(now() - start)
    return seconds, results


def show(title: str, requests: int, seconds: dict[str, list[float]], notes: dict[str, str]) -> None:
    print(f"\n{title}\n  {'':<32}  median s  requests/s  times ours  lowest  highest")
    for name, times in seconds.items():
        ratios = [theirs / own for theirs, own in zip(times, seconds[OURS], strict=True)]
        middle = statistics.median(times)
        print(
            f"  {name:<32}{middle:10.2f}{requests / middle:12.2f}{statistics.median(ratios):12.2f}"
            f"{min(ratios):8.2f}{max(ratios):9.2f}  {notes[name]}",
            flush=True,
        )


def compare_scores(title: str, weights: GPT, requests: Sequence[Continuation], rounds: int) -> None:
    def ours() -> list[tuple[float, bool]]:
        found = dict(scoring.loglikelihoods(weights, requests))
        return [(found[number].logprob, found[number].is_greedy) for number in range(len(requests))]

    works: dict[str, Callable[[], Any]] = {OURS: ours}
    if importlib.util.find_spec("lm_eval"):
        model = peers.hugging_face(weights)
        for batch in HARNESS_BATCHES:
            score = peers.harness(model, batch)
            works[f"lm-evaluation-harness, batch {batch}"] = lambda score=score: score(requests)
    seconds, results = in_turn(works, rounds)
    notes = {}
    for name, found in results.items():
        far = max(abs(theirs[0] - own[0]) for theirs, own in zip(found, results[OURS], strict=True))
        flags = sum(theirs[1] != own[1] for theirs, own in zip(found, results[OURS], strict=True))
        notes[name] = f"at most {far:.1e} nats from ours, {flags} flags differ"
    show(title, len(requests), seconds, notes)


def compare_texts(weights: GPT, rounds: int) -> None:
    requests, tokenizer = prompts(), Tokenizer.load("gpt2")

    def ours(together: int | None) -> list[tuple[int, ...]]:
        found = dict(engine.generate_until(weights, tokenizer, requests, together))
        return [found[number].ids for number in range(len(requests))]

    works: dict[str, Callable[[], Any]] = {OURS: lambda: ours(None), f"{OURS}, one at a time": lambda: ours(1)}
    if importlib.util.find_spec("transformers"):
        model = peers.hugging_face(weights)
        for batch in (1, len(requests)):
            write = peers.writer(model, batch)
            works[f"transformers, batch {batch}"] = lambda write=write: write(requests)
    seconds, results = in_turn(works, rounds)
    equal = {name: sum(a == b for a, b in zip(found, results[OURS], strict=True)) for name, found in results.items()}
    notes = {name: f"{count} of {len(requests)} texts are ours" for name, count in equal.items()}
    show("generation", len(requests), seconds, notes)


def resident_mb(key: str) -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if key in line) / 1024


def measure_memory(weights: GPT, batch_tokens: int) -> None:
    rng = random.Random(3)
    requests = [Window(ids(rng, SIZES.n_ctx + 1), SIZES.n_ctx) for _ in range(MEMORY_WINDOWS)]
    before = resident_mb("VmRSS")
    for _ in scoring.windows_loglikelihoods(weights, requests, batch_tokens):
        pass
    print(json.dumps(resident_mb("VmHWM") - before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parts = ("cloze", "choices", "generation", "memory")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = random_model(SIZES).eval()
    if options.job:
        measure_memory(weights, options.job)
        return
    absent = ", ".join(name for name in ("lm_eval", "transformers") if not importlib.util.find_spec(name)) or "none"
    print(f"torch {torch.__version__}, {options.threads} threads; {options.rounds} rounds; absent: {absent}")
    for name, make in (("cloze", cloze), ("choices", choices)):
        if name in options.parts:
            compare_scores(name, weights, make(), options.rounds)
    if "generation" in options.parts:
        compare_texts(weights, options.rounds)
    if "memory" in options.parts:
        print("\nmemory of scoring, above the model's own")
        for budget in MEMORY_BUDGETS:
            command = [sys.executable, __file__, "--job", str(budget)]
            found = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"  {budget:>8} tokens at once{float(found.stdout):8,.0f} MB", flush=True)


if __name__ == "__main__":
    main()

"""`wholegpt train`: from token shards to a model, in a loop that can be stopped and resumed at any step.

    run/                            run.partial/ while it is unfinished
    ├── config.json, model.safetensors, vocab.json, merges.txt      opens in Hugging Face's transformers
    ├── setup.json                  threads and precision, and what was timed to choose them
    ├── metrics.jsonl               one line a step, and one for each look at the held-out part
    ├── samples.jsonl               texts sampled on the way
    └── state/                      only while unfinished: what resuming needs

On a CPU with one number of threads, an interrupted run gives the same weights bit for bit as an uninterrupted one.
"""

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor

from wholegpt import artifact
from wholegpt.artifact import Artifact
from wholegpt.documents import TRAIN
from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.inference.engine import generate
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT, GPTConfig, parameter_count
from wholegpt.progress import Bar, bar, say
from wholegpt.tokenizer import Tokenizer
from wholegpt.training import optimizer as optimizers
from wholegpt.training import plan, probe, state, sweep
from wholegpt.training.loss import batch_loss
from wholegpt.training.order import WindowOrder
from wholegpt.training.shards import VAL, Tokens

# A look at the held-out part during training: so many windows, spread over it.
HELD_OUT_WINDOWS = 16
SAMPLE_TOKENS = 60


@dataclass(frozen=True)
class TrainOptions:
    """Train a GPT-2 on token shards (section 2); the defaults are the paper's smallest model."""

    shards: tyro.conf.Positional[Path] = Path("shards")
    """Directory from `wholegpt shards`."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("run")
    """Directory to write; an interrupted run in it is resumed."""
    recipe: str = ""
    """A .toml file with values for these options, or small, medium, large, xl, fast, demo, smoke."""
    n_layer: int = 12
    """Blocks."""
    n_head: int = 12
    """Attention heads."""
    n_embd: int = 768
    """Width."""
    n_ctx: int = 1024
    """Context window [tokens]."""
    dropout: float = 0.0
    """Dropout."""
    steps: int = 19_073
    """Optimizer steps; the default reads 10 billion tokens."""
    batch_size: int = 512
    """Windows a step."""
    micro_batch_size: int = 8
    """Windows in memory at a time; gradients add up to the batch."""
    optimizer: optimizers.OptimizerName = "adamw"
    """adamw, or muon for the matrices of the blocks and adamw for the rest."""
    learning_rate: float = 6e-4
    """Peak learning rate of adamw."""
    muon_learning_rate: float = 0.02
    """Peak learning rate of muon."""
    weight_decay: float = 0.1
    """On matrices only."""
    beta1: float = 0.9
    """Adam's first beta."""
    beta2: float = 0.95
    """Adam's second beta."""
    gradient_clip: float = 1.0
    """Largest norm of all gradients together."""
    warmup_steps: int = 700
    """Steps of linear warm-up."""
    schedule: optimizers.ScheduleName = "cosine"
    """What follows the warm-up."""
    learning_rate_floor: float = 0.1
    """Share of the learning rate left at the end."""
    evaluate_every: int = 250
    """Steps between looks at the held-out part."""
    sample_every: int = 1000
    """Steps between sampled texts."""
    save_every: int = 250
    """Steps between saved states."""
    seed: int = 0
    """Decides the initial weights and the order of the data."""
    threads: int = 0
    """CPU threads; 0: time what is faster."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products; auto: time what is faster."""
    device: str = "auto"
    """cpu, cuda, ..."""
    overwrite: bool = False
    """Replace a run made otherwise."""
    dry_run: bool = False
    """Print parameters, operations, memory and time, and train nothing."""
    memory_gb: float = 0.0
    """For --dry-run: plan for a GPU with so much memory; 0: for the device here [GB]."""
    sweep: str = ""
    """Train once for each value of an option, such as lr=0.001,0.003,0.01, and compare on the held-out part."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "micro_batch_size", "evaluate_every", "sample_every", "save_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected at least 1")

    def model_config(self, vocab_size: int) -> GPTConfig:
        try:
            return GPTConfig(vocab_size, self.n_ctx, self.n_embd, self.n_layer, self.n_head, self.dropout)
        except ValueError as error:
            raise UsageError(str(error)) from None


@dataclass(frozen=True)
class Data:
    """What the loop reads: the two parts, the order of the first, and the bytes that a token stands for on average."""

    train: Tokens
    val: Tokens
    order: WindowOrder
    train_bytes_per_token: float
    val_bytes_per_token: float

    @classmethod
    def open(cls, options: TrainOptions, vocab_size: int) -> "Data":
        counts = artifact.read_manifest(options.shards)["counts"]
        parts = {name: Tokens(options.shards, name, vocab_size) for name in (TRAIN, VAL)}
        for name, tokens in parts.items():
            if len(tokens) <= options.n_ctx:
                raise WholeGPTError(
                    f"the {name} part of {options.shards} has {len(tokens):,} tokens, one window takes "
                    f"{options.n_ctx + 1:,}; give more text or a smaller --n-ctx"
                )
        order = WindowOrder(len(parts[TRAIN]), options.n_ctx, options.seed)
        density = {name: counts[name]["bytes"] / counts[name]["tokens"] for name in parts}
        return cls(parts[TRAIN], parts[VAL], order, density[TRAIN], density[VAL])

    def batch(self, step: int, options: TrainOptions) -> Tensor:
        """The windows of one step [batch_size, n_ctx + 1]: a function of the seed and the step."""
        starts = self.order.starts(step * options.batch_size, options.batch_size)
        windows = [torch.from_numpy(self.train.read(int(start), options.n_ctx + 1)) for start in starts]
        return torch.stack(windows)


def begin(options: TrainOptions) -> None:
    """The verb: train; with --dry-run only plan it; with --sweep once for each value."""
    if options.dry_run:
        plan.show(options)
    elif options.sweep:
        sweep.run(options, train)
    else:
        train(options)


def train(options: TrainOptions) -> Artifact:
    """Train, or go on where the same command stopped; raises Interrupted after a stop with the state saved."""
    run = Artifact(options.output, "train", options, [options.shards], options.overwrite)
    if run.exists():
        say(f"{options.output} is there already")
        return run
    tokenizer = Tokenizer.load(options.shards)
    data = Data.open(options, tokenizer.vocab_size)
    torch.manual_seed(options.seed)
    device = torch.device(checkpoint.choose_device(options.device))
    model = GPT(options.model_config(tokenizer.vocab_size)).to(device)
    with run.write(resume=True) as folder:
        setup = _setup(folder, model, data, options)
        torch.set_num_threads(setup.threads)
        say(f"{parameter_count(model):,} parameters, {options.steps:,} steps, {setup}")
        seconds, held_out = _loop(folder, model, tokenizer, data, setup, options)
        checkpoint.save(folder, model, tokenizer)
        run.counts = {
            "parameters": parameter_count(model),
            "steps": options.steps,
            "tokens": options.steps * options.batch_size * options.n_ctx,
            "epochs": round(options.steps * options.batch_size / data.order.windows, 3),
            "seconds": round(seconds, 1),
            "held_out_bits_per_byte": round(held_out, 4),
            "threads": setup.threads,
            "precision": setup.precision,
        }
    return run


def _setup(folder: Path, model: GPT, data: Data, options: TrainOptions) -> probe.Setup:
    """The number of threads and the precision: chosen once and kept, so that a resumed run repeats itself exactly."""
    path = folder / "setup.json"
    if path.is_file():
        kept = artifact.read_json(path)
        return probe.Setup(kept["threads"], kept["precision"])
    ids = data.batch(0, options)[: options.micro_batch_size].to(model.wte.weight.device)
    setup, tried = probe.choose(model, ids, options.threads, options.precision)
    for candidate, seconds in tried.items():
        say(f"timed {candidate}: {seconds:.3f} s for {len(ids)} windows")
    artifact.write_json(
        path, {"threads": setup.threads, "precision": setup.precision, "seconds_of_a_micro_batch": tried}
    )
    return setup


def _loop(
    folder: Path, model: GPT, tokenizer: Tokenizer, data: Data, setup: probe.Setup, options: TrainOptions
) -> tuple[float, float]:
    """All steps; returns the seconds they took, earlier runs included, and the last held-out bits per byte."""
    steppers = optimizers.build(
        model,
        options.optimizer,
        options.learning_rate,
        options.muon_learning_rate,
        options.weight_decay,
        (options.beta1, options.beta2),
    )
    peaks = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    progress = state.load(folder / artifact.STATE, model, steppers) or {"step": 0, "seconds": 0.0, "held_out": math.nan}
    first, seconds, held_out = int(progress["step"]), float(progress["seconds"]), float(progress["held_out"])
    if first:
        say(f"resuming after step {first:,}")
    for name in ("metrics.jsonl", "samples.jsonl"):
        _cut(folder / name, first)
    with (
        bar("training", options.steps, "steps", first) as shown,
        (folder / "metrics.jsonl").open("a") as metrics,
        _stop_requested() as stop,
    ):
        for step in range(first, options.steps):
            start = time.monotonic()
            share = optimizers.schedule(
                step, options.steps, options.warmup_steps, options.schedule, options.learning_rate_floor
            )
            for stepper, rates in zip(steppers, peaks, strict=True):
                for group, rate in zip(stepper.param_groups, rates, strict=True):
                    group["lr"] = rate * share
            loss, norm = _step(model, steppers, data.batch(step, options), setup.precision, options, step)
            done = step + 1
            elapsed = time.monotonic() - start
            seconds += elapsed
            speed = options.batch_size * options.n_ctx / elapsed
            bits = loss / math.log(2) / data.train_bytes_per_token
            _write(metrics, {
                "step": done, "loss": loss, "bits_per_byte": bits, "gradient_norm": norm, "learning_rate_share": share,
                "tokens_per_second": round(speed), "seconds": round(seconds, 3),
            })  # fmt: skip
            shown.advance(1, f"loss {loss:.3f}, {bits:.3f} bits/byte, {speed:,.0f} tokens/s")
            if done % options.evaluate_every == 0 or done == options.steps:
                held_out = _held_out_bits(model, data, setup.precision, options)
                _write(metrics, {"step": done, "held_out_bits_per_byte": held_out})
                shown.note(f"step {done:,}: {held_out:.3f} bits per byte on held-out text")
            if done % options.sample_every == 0:
                _sample(folder / "samples.jsonl", model, tokenizer, done, shown)
            if stop.is_set() or done % options.save_every == 0 or done == options.steps:
                state.save(folder / artifact.STATE, done, model, steppers, {"seconds": seconds, "held_out": held_out})
            if stop.is_set() and done < options.steps:
                raise Interrupted(
                    f"stopped after step {done:,} of {options.steps:,}, state saved; the same command goes on"
                )
    return seconds, held_out


def _step(
    model: GPT,
    steppers: list[torch.optim.Optimizer],
    windows: Tensor,
    precision: str,
    options: TrainOptions,
    step: int,
) -> tuple[float, float]:
    """One optimizer step; returns the loss [nats a token] and the norm of the gradients before clipping."""
    model.train()
    if options.dropout:
        torch.manual_seed(options.seed * 1_000_003 + step)  # so that noise, too, depends on seed and step alone
    total = 0.0
    for micro_batch in torch.split(windows.to(model.wte.weight.device), options.micro_batch_size):
        share = len(micro_batch) / len(windows)
        loss = batch_loss(model, micro_batch, precision) * share
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), options.gradient_clip))
    if not math.isfinite(total) or not math.isfinite(norm):
        raise WholeGPTError(
            f"the loss is {total} and the gradient norm {norm} in step {step + 1}; try a smaller --learning-rate"
        )
    for stepper in steppers:
        stepper.step()
        stepper.zero_grad()
    return total, norm


@torch.no_grad()
def _held_out_bits(model: GPT, data: Data, precision: str, options: TrainOptions) -> float:
    """Bits per byte on some windows of the held-out part, `<|endoftext|>` counted with the text."""
    model.eval()
    available = (len(data.val) - 1) // options.n_ctx
    chosen = sorted({available * index // HELD_OUT_WINDOWS for index in range(HELD_OUT_WINDOWS)})
    losses = []
    for window in chosen:
        ids = torch.from_numpy(data.val.read(window * options.n_ctx, options.n_ctx + 1))[None]
        losses.append(float(batch_loss(model, ids.to(model.wte.weight.device), precision)))
    return sum(losses) / len(losses) / math.log(2) / data.val_bytes_per_token


def _sample(path: Path, model: GPT, tokenizer: Tokenizer, step: int, shown: Bar) -> None:
    model.eval()
    text = generate(model, tokenizer, [""], max_new_tokens=SAMPLE_TOKENS, seed=step)[0]
    with path.open("a", encoding="utf-8") as stream:
        _write(stream, {"step": step, "text": text})
    shown.note(f"step {step:,}, a sample: {' '.join(text.split())}")


def _write(stream: Any, record: dict[str, Any]) -> None:
    stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    stream.flush()


def _cut(path: Path, step: int) -> None:
    """Drop the lines after a step, and one that was cut off, which a killed run may have left."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    artifact.write_bytes(path, b"".join(kept))


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the step is finished and saved; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping after this step")

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""`wholegpt train`: from token shards to a model, in a loop that can be stopped and resumed at any step.

    run/                            run.partial/ while it is unfinished
    ├── config.json, model.safetensors, vocab.json, merges.txt      opens in Hugging Face's transformers
    ├── best/                       the same at the best look at held-out text, if that was not the last
    ├── setup.json                  threads and precision, and what was timed to choose them
    ├── metrics.jsonl               one line a step, and one for each look at the held-out part
    ├── samples.jsonl               texts sampled on the way
    ├── skipped.jsonl               steps without a finite loss or gradient, with the place of their batches
    └── state/                      only while unfinished: what resuming needs

On a CPU with one number of threads, an interrupted run gives the same weights bit for bit as an uninterrupted one; on
any number of ranks (`torchrun -m wholegpt train ...`) it is the same training, up to rounding.
"""

import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from wholegpt import artifact, ranks
from wholegpt.artifact import Artifact
from wholegpt.errors import Interrupted, UsageError
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT, GPTConfig, parameter_count
from wholegpt.ranks import Team
from wholegpt.tokenizer import Tokenizer
from wholegpt.training import journal, memory, parallel, plan, probe, running, start, state, sweep
from wholegpt.training import optimizer as optimizers
from wholegpt.training.data import Data
from wholegpt.training.metrics import Meter
from wholegpt.training.parallel import Kind
from wholegpt.training.running import Progress, Run
from wholegpt.training.signals import stop_requested
from wholegpt.training.step import Stepper
from wholegpt.training.tokens import tokenizer_of

# Options that decide how a training is done, but not (rounding aside) what comes out: they may change on the way.
INCIDENTAL = (
    "micro_batch_size", "parallel", "compile", "activation_checkpointing", "pad_vocabulary", "save_every",
    "keep_states", "skip_limit", "rank_timeout", "tensorboard", "reference", "dry_run", "memory_gb", "sweep",
)  # fmt: skip


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
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the matrix products; auto: what the hardware has, and what is faster."""
    device: str = "auto"
    """cpu, cuda, mps; under torchrun each rank takes its own."""
    overwrite: bool = False
    """Replace a run made otherwise."""
    init: str = ""
    """Start from a model, in any format or by name (gpt2): its sizes, with windows of at most --n-ctx."""
    doc_mask: bool = False
    """Documents do not attend to those before them in a window; in the paper they do."""
    parallel: Kind = "ddp"
    """Of several ranks: each holds the model (ddp), or a part of it (fsdp)."""
    compile: Literal["auto", "yes", "no"] = "auto"
    """torch.compile; auto: on a GPU."""
    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them."""
    pad_vocabulary: int = 0
    """The vocabulary is a multiple of this in memory; 0: of 128 on a GPU, else as it is."""
    keep_states: int = state.KEPT
    """Saved states to keep, beside the best on held-out text."""
    skip_limit: int = 5
    """Stop after so many steps in a row without a finite loss and gradient."""
    rank_timeout: float = 600.0
    """Wait so long for a late rank, then name it and end [seconds]."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard, too."""
    reference: tuple[tuple[float, float], ...] = ()
    """A curve to compare with: tokens and loss [nats a token] of each point."""
    dry_run: bool = False
    """Print parameters, operations, memory and time, and train nothing."""
    memory_gb: float = 0.0
    """For --dry-run: plan for a GPU with so much memory; 0: for the device here [GB]."""
    sweep: str = ""
    """Train once for each value of an option, such as lr=0.001,0.003,0.01, and compare on the held-out part."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "micro_batch_size", "evaluate_every", "sample_every", "save_every",
                     "keep_states", "skip_limit"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected at least 1")
        if any(later[0] <= earlier[0] for earlier, later in pairwise(((0.0, 0.0), *self.reference))):
            raise UsageError("--reference needs points (tokens, loss) with rising tokens above zero")

    def model_config(self, vocab_size: int) -> GPTConfig:
        try:
            return GPTConfig(vocab_size, self.n_ctx, self.n_embd, self.n_layer, self.n_head, self.dropout)
        except ValueError as error:
            raise UsageError(str(error)) from None


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
    with ranks.join(options.device, options.rank_timeout) as team:
        inputs = [options.shards, *([checkpoint.find(options.init)] if options.init else [])]
        run = Artifact(options.output, "train", options, inputs, options.overwrite, INCIDENTAL)
        if team.share(team.main and run.exists()):
            team.say(f"{options.output} is there already")
            return run
        start.check_batch(options.batch_size, team)
        if options.tensorboard:
            journal.check_tensorboard()
        tokenizer = tokenizer_of(options.shards)
        torch.manual_seed(options.seed)
        if options.init:
            model = start.released(options.init, options.dropout, options.shards, tokenizer)
        else:
            model = GPT(options.model_config(tokenizer.vocab_size))
        model.separator = tokenizer.eot if options.doc_mask else None
        options = replace(options, n_ctx=min(options.n_ctx, model.config.n_ctx))
        data = Data.open(options.shards, options.n_ctx, options.seed, tokenizer)
        with run.write(resume=True) if team.main else nullcontext(run.partial) as folder:
            team.wait()  # until the folder is there
            run.counts = _train(folder, model, tokenizer, data, options, team)
    return run


def _train(
    folder: Path, model: GPT, tokenizer: Tokenizer, data: Data, options: TrainOptions, team: Team
) -> dict[str, Any]:
    """Everything between the model as it begins and the model as it is saved; returns the run's counts."""
    parameters = parameter_count(model)
    micro_batch = data.batch(0, options.batch_size, team.rank, team.count)[: options.micro_batch_size]
    team.device = probe.working_device(model, micro_batch, team.device)
    setup = start.setup(folder / "setup.json", model, micro_batch, options.threads, options.precision, team)
    torch.set_num_threads(setup.threads)
    gpu = team.device.type == "cuda"
    with memory.enough(team.device, options.micro_batch_size, _ways_to_save(options, team)):
        parallel.pad_vocabulary(model, options.pad_vocabulary or (parallel.GPU_MULTIPLE if gpu else 1))
        objective = parallel.apply(
            model,
            setup.precision,
            team,
            micro_batch.to(team.device),
            kind=options.parallel,
            compiles=gpu if options.compile == "auto" else options.compile == "yes",
            checkpointing=options.activation_checkpointing,
        )
        of_ranks = f", {team.count} ranks" if team.launched else ""
        team.say(f"{parameters:,} parameters, {options.steps:,} steps, {setup}, {team.device.type}{of_ranks}")
        stepper = Stepper(
            model, objective, _optimizers(model, options), team, setup.precision, options.micro_batch_size,
            options.gradient_clip, options.seed,
        )  # fmt: skip
        run = Run(folder, model, tokenizer, data, stepper, setup.precision, options, team)
        progress = _loop(run)
        best = running.save(run)
    return {
        "parameters": parameters,
        "steps": options.steps,
        "tokens": options.steps * options.batch_size * options.n_ctx,
        "epochs": round(options.steps * options.batch_size / data.order.windows, 3),
        "seconds": round(progress.seconds, 1),
        "held_out_bits_per_byte": round(progress.last_look, 4),
        **best,
        "skipped_steps": progress.skipped,
        "threads": setup.threads,
        "precision": setup.precision,
        "ranks": team.count,
    }


def _loop(run: Run) -> Progress:
    """All steps that are left."""
    options, team, stepper = run.options, run.team, run.stepper
    progress = Progress(**(state.load(run.folder / artifact.STATE, run.model, stepper.optimizers, team) or {}))
    stepper.load_state(progress.scaler)
    if progress.step:
        team.say(f"resuming after step {progress.step:,}")
    meter = Meter(run.model.config, team.device, run.precision, options.batch_size * options.n_ctx, options.n_ctx,
                  team.count, options.reference)  # fmt: skip
    batches = run.data.batches(progress.step, options.steps, options.batch_size, team.rank, team.count)
    with (
        journal.kept(run.folder, progress.step, options.steps, options.tensorboard, team.main) as books,
        stop_requested(team.launched) as stop,
    ):
        for step, windows in batches:
            team.reached(step)
            begun = time.monotonic()
            share = optimizers.schedule(
                step, options.steps, options.warmup_steps, options.schedule, options.learning_rate_floor
            )
            with team.together():
                outcome = stepper.take(step, windows, share, stop.is_set())
            progress.step, progress.held_out = step + 1, None
            progress.seconds += time.monotonic() - begun
            running.account(run, books, meter, progress, outcome, share, time.monotonic() - begun)

            last = progress.step == options.steps
            better = False
            if progress.step % options.evaluate_every == 0 or last:
                better = running.look(run, books, meter, progress)
            if progress.step % options.sample_every == 0:
                running.sample(run, books, progress.step)
            if progress.step % options.save_every == 0 or better or outcome.stop or last:
                progress.scaler = stepper.state()
                state.save(run.folder / artifact.STATE, progress.step, run.model, stepper.optimizers,
                           asdict(progress), options.keep_states, team)  # fmt: skip
            if outcome.stop and not last:
                raise Interrupted(
                    f"stopped after step {progress.step:,} of {options.steps:,}, state saved; the same command goes on"
                )
    return progress


def _optimizers(model: GPT, options: TrainOptions) -> list[torch.optim.Optimizer]:
    betas = (options.beta1, options.beta2)
    rates = (options.learning_rate, options.muon_learning_rate)
    return optimizers.build(model, options.optimizer, *rates, options.weight_decay, betas)


def _ways_to_save(options: TrainOptions, team: Team) -> dict[str, bool]:
    """Flags that make a training smaller, and whether each is given (or would not help)."""
    return {
        "--activation-checkpointing": options.activation_checkpointing,
        "--parallel fsdp": options.parallel == "fsdp" or team.count == 1,
    }

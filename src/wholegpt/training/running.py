"""A run between its steps: what is written down, the looks at held-out text, the samples, the models that are kept."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.inference.engine import generate
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT
from wholegpt.ranks import Team
from wholegpt.tokenizer import Tokenizer
from wholegpt.training import parallel, state
from wholegpt.training.data import Data
from wholegpt.training.journal import METRICS, SAMPLES, SKIPPED, Journal
from wholegpt.training.metrics import Meter, verdict
from wholegpt.training.step import Outcome, Stepper

if TYPE_CHECKING:
    from wholegpt.training.loop import TrainOptions

SAMPLE_TOKENS = 60


@dataclass(frozen=True)
class Run:
    """What the loop works with."""

    folder: Path
    model: GPT
    tokenizer: Tokenizer
    data: Data
    stepper: Stepper
    precision: str
    options: "TrainOptions"
    team: Team


@dataclass
class Progress:
    """How far a run is: what is saved beside weights and moments."""

    step: int = 0
    """Steps that are done."""
    seconds: float = 0.0
    """They took, earlier starts included."""
    last_look: float = math.nan
    """Bits per byte on held-out text, the last time."""
    held_out: float | None = None
    """The same after exactly this step, if it was looked at."""
    best_look: float = math.inf
    skipped: int = 0
    """Steps that were not taken."""
    skipped_in_a_row: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    """The scale of float16."""


def account(
    run: Run, books: Journal, meter: Meter, progress: Progress, outcome: Outcome, share: float, seconds: float
) -> None:
    """Write down a step, be it taken or not; WholeGPTError after too many in a row that were not."""
    if not outcome.taken:
        _skip(run, books, progress, outcome)
        return
    progress.skipped_in_a_row = 0
    options, loss = run.options, outcome.loss
    bits, speed = loss / math.log(2) / run.data.train_bytes_per_token, meter.speed(seconds)
    above = meter.above_reference(progress.step, loss)
    seconds_left = progress.seconds / progress.step * (options.steps - progress.step)
    books.write(METRICS, {
        "step": progress.step, "tokens": progress.step * options.batch_size * options.n_ctx, "loss": loss,
        "bits_per_byte": bits, "gradient_norm": outcome.norm, "learning_rate": options.learning_rate * share,
        "learning_rate_share": share, **speed, "seconds": round(progress.seconds, 3),
        "seconds_left": round(seconds_left, 1), **({} if above is None else {"above_reference": above}),
    })  # fmt: skip
    books.advance(
        f"loss {loss:.3f}{verdict(above)}, {bits:.3f} bits/byte, {speed['tokens_per_second']:,} tokens/s, "
        f"MFU {speed['mfu']:.0%}"
    )


def _skip(run: Run, books: Journal, progress: Progress, outcome: Outcome) -> None:
    """Keep the place of a batch that gave no finite loss or gradient."""
    options, first = run.options, (progress.step - 1) * run.options.batch_size
    progress.skipped += 1
    progress.skipped_in_a_row += not outcome.forgivable
    books.write(SKIPPED, {
        "step": progress.step, "loss": str(outcome.loss), "gradient_norm": str(outcome.norm),
        "windows_begin_at_tokens": run.data.order.starts(first, options.batch_size).tolist(),
    })  # fmt: skip
    books.advance(f"step {progress.step:,} skipped: loss {outcome.loss:.3f}, gradient norm {outcome.norm:.3f}")
    if progress.skipped_in_a_row >= options.skip_limit:
        raise WholeGPTError(
            f"the loss is {outcome.loss} and the gradient norm {outcome.norm} in step {progress.step}, the "
            f"{options.skip_limit}th in a row; their batches stand in {run.folder / SKIPPED}; "
            "try a smaller --learning-rate"
        )


@torch.no_grad()
def look(run: Run, books: Journal, meter: Meter, progress: Progress) -> bool:
    """Bits per byte on some windows of the held-out part, `<|endoftext|>` counted with the text; whether the best."""
    run.model.eval()
    objective = parallel.without_gradients(run.model, run.stepper.objective, run.precision)
    windows = run.data.held_out()
    parts = torch.split(windows.to(run.team.device), run.options.micro_batch_size)
    loss = sum(float(objective(part)) * len(part) for part in parts) / len(windows)
    look = run.team.share(loss / math.log(2) / run.data.val_bytes_per_token)
    above = meter.above_reference(progress.step, loss)
    books.write(METRICS, {"step": progress.step, "held_out_loss": loss, "held_out_bits_per_byte": look})
    books.note(f"step {progress.step:,}: {look:.3f} bits per byte on held-out text{verdict(above)}")
    better = look < progress.best_look
    progress.last_look = progress.held_out = look
    progress.best_look = min(look, progress.best_look)
    return better


def sample(run: Run, books: Journal, step: int) -> None:
    model = parallel.whole(run.model).eval()
    if run.team.main:
        text = generate(model, run.tokenizer, [""], max_new_tokens=SAMPLE_TOKENS, seed=step)[0]
        books.write(SAMPLES, {"step": step, "text": text})
        books.note(f"step {step:,}, a sample: {' '.join(text.split())}")


def save(run: Run) -> dict[str, Any]:
    """Save the model, and the one that was best on held-out text, if that is another; counts of the latter."""
    model = parallel.whole(run.model)
    if run.team.main:
        checkpoint.save(run.folder, model, run.tokenizer)
    path = run.team.share(state.best(run.folder / artifact.STATE) if run.team.main else None)
    if path is None:
        return {}
    best = Progress(**artifact.read_json(path / state.PROGRESS))
    if best.step != run.options.steps:
        state.read(path, run.model, run.stepper.optimizers, run.team)
        model = parallel.whole(run.model)
        if run.team.main:
            (run.folder / "best").mkdir(exist_ok=True)
            checkpoint.save(run.folder / "best", model, run.tokenizer)
    return {"best_step": best.step, "best_held_out_bits_per_byte": round(best.best_look, 4)}

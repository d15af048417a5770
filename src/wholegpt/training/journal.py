"""What a run writes down and shows while it goes: JSON lines always, a bar or plain lines, TensorBoard by option.

metrics.jsonl    a line a step: step, tokens, loss, bits_per_byte, gradient_norm, learning_rate, learning_rate_share,
                 tokens_per_second, mfu (PaLM's convention), mfu_exact, memory_bytes, seconds, seconds_left; with a
                 reference curve above_reference. A line for each look at the held-out part
samples.jsonl    texts sampled on the way
skipped.jsonl    steps that were not taken, with what is needed to look at their batches

On ranks other than the main one all of it is silent.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from wholegpt import artifact
from wholegpt.errors import missing_extra
from wholegpt.progress import Bar, bar

METRICS, SAMPLES, SKIPPED = "metrics.jsonl", "samples.jsonl", "skipped.jsonl"
TENSORBOARD = "tensorboard"


class Journal:
    """The books of a run in `folder`; without one they stay shut."""

    def __init__(self, folder: Path | None, shown: Bar | None = None, tensorboard: Any = None) -> None:
        self._folder, self._shown, self._tensorboard = folder, shown, tensorboard

    def write(self, book: str, record: dict[str, Any]) -> None:
        """Append a record, with its `step`, to a book; TensorBoard gets the numbers of the metrics."""
        if not self._folder:
            return
        with (self._folder / book).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        if self._tensorboard and book == METRICS:
            for name in record.keys() - {"step"}:
                self._tensorboard.add_scalar(name, record[name], record["step"])

    def advance(self, text: str) -> None:
        """One step more, with its figures in words."""
        if self._shown:
            self._shown.advance(1, text)

    def note(self, line: str) -> None:
        """A line that stays."""
        if self._shown:
            self._shown.note(line)


@contextmanager
def kept(folder: Path, step: int, steps: int, tensorboard: bool, main: bool) -> Iterator[Journal]:
    """The books from `step` on: lines after it, which a killed run may have left, are dropped."""
    if not main:
        yield Journal(None)
        return
    for name in (METRICS, SAMPLES, SKIPPED):
        cut(folder / name, step)
    with ExitStack() as stack:
        writer = _summary_writer(folder / TENSORBOARD, step) if tensorboard else None
        if writer:
            stack.callback(writer.close)
        yield Journal(folder, stack.enter_context(bar("training", steps, "steps", step)), writer)


def cut(path: Path, step: int) -> None:
    """Drop the lines after a step, and one that was cut off."""
    if not path.is_file():
        return
    lines = []
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n") or json.loads(line)["step"] > step:
            break
        lines.append(line)
    artifact.write_bytes(path, b"".join(lines))


def check_tensorboard() -> None:
    """WholeGPTError with the command to install it, where TensorBoard is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise missing_extra("tensorboard", "tensorboard") from None


def _summary_writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)

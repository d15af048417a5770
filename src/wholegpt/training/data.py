"""What training reads: the two parts of the shards, the windows of each step in their order, those to look at."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wholegpt.documents import TRAIN
from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import Tokenizer
from wholegpt.training.order import WindowOrder, samples
from wholegpt.training.shard_files import VAL
from wholegpt.training.tokens import Tokens, bytes_per_token

# A look at the held-out part during training: so many windows, spread over it.
HELD_OUT_WINDOWS = 16


@dataclass(frozen=True)
class Data:
    """The two parts, the order of the first, and the bytes that a token of each stands for on average."""

    train: Tokens
    val: Tokens
    order: WindowOrder
    train_bytes_per_token: float
    val_bytes_per_token: float

    @classmethod
    def open(cls, shards: Path, n_ctx: int, seed: int, tokenizer: Tokenizer) -> "Data":
        """The shards of a directory, read in windows of `n_ctx` predictions."""
        parts = {name: Tokens(shards, name, tokenizer.vocab_size) for name in (TRAIN, VAL)}
        for name, tokens in parts.items():
            if len(tokens) <= n_ctx:
                raise WholeGPTError(
                    f"the {name} part of {shards} has {len(tokens):,} tokens, one window takes {n_ctx + 1:,}; "
                    "give more text or a smaller --n-ctx"
                )
        density = {name: bytes_per_token(shards, name, tokenizer) for name in parts}
        order = WindowOrder(len(parts[TRAIN]), n_ctx, seed)
        return cls(parts[TRAIN], parts[VAL], order, density[TRAIN], density[VAL])

    def batch(self, step: int, batch_size: int, rank: int = 0, ranks: int = 1) -> Tensor:
        """This rank's windows of one step [batch_size / ranks, n_ctx + 1]: a function of the seed and the step.

        The windows of all ranks are the batch, whatever their number.
        """
        starts = self.order.starts_of(samples(step, batch_size, rank, ranks))
        return torch.stack([self._window(self.train, int(start)) for start in starts])

    def batches(self, first: int, steps: int, batch_size: int, rank: int, ranks: int) -> Iterator[tuple[int, Tensor]]:
        """Step and windows of all steps from `first` on; the next are read while a step is taken."""
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self.batch, first, batch_size, rank, ranks)
            for step in range(first, steps):
                windows = coming.result()
                if step + 1 < steps:
                    coming = reader.submit(self.batch, step + 1, batch_size, rank, ranks)
                yield step, windows

    def held_out(self) -> Tensor:
        """Some windows of the held-out part [n, n_ctx + 1], spread over it."""
        available = (len(self.val) - 1) // self.order.length
        chosen = sorted({available * index // HELD_OUT_WINDOWS for index in range(HELD_OUT_WINDOWS)})
        return torch.stack([self._window(self.val, window * self.order.length) for window in chosen])

    def _window(self, tokens: Tokens, start: int) -> Tensor:
        return torch.from_numpy(tokens.read(start, self.order.length + 1))

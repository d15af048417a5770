"""Token sequences packed into one stream, without padding; what several of them begin with stands there once.

Sequences that begin alike form a tree: a context with its choices, a sentence with its candidates, prompts after the
same examples. Each token of a tree attends to those before it in its own sequence:

    sequences   5 7 2 4 | 5 7 2 6 1        ids        5 7 2 4 6 1
    paths       0 1 2 3 | 0 1 2 4 5        positions  0 1 2 3 3 4
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

Item = TypeVar("Item")

# A sequence joins a tree where at least this share of it stands there already.
WORTH_SHARING = 0.25


@dataclass
class Tree:
    """Sequences that begin alike, each distinct beginning once."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    paths: dict[int, list[int]] = field(default_factory=dict)
    """Of each sequence, by its number, the places of its tokens."""
    branches: list[tuple[int, list[int]]] = field(default_factory=list)
    """Where new tokens begin, and the places that all of them attend to."""

    def __len__(self) -> int:
        """Tokens."""
        return len(self.ids)

    def grow(self, number: int, sequence: Sequence[int], trunk: list[int]) -> None:
        """Add a sequence whose first tokens stand at the places of `trunk`."""
        start, shared = len(self.ids), len(trunk)
        self.ids += sequence[shared:]
        self.positions += range(shared, len(sequence))
        self.paths[number] = trunk + list(range(start, len(self.ids)))
        if start < len(self.ids):
            self.branches.append((start, trunk))

    def mask(self) -> Tensor | None:
        """What is added to the attention of each token to each [N, N]; None where it is one sequence, plainly causal.

        >>> tree = Tree()
        >>> tree.grow(0, (5, 7), [])
        >>> tree.grow(1, (5, 8), [0])
        >>> tree.mask().exp().int().tolist()
        [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
        """
        if len(self.branches) == 1:
            return None
        seen_NN = torch.zeros(len(self.ids), len(self.ids), dtype=torch.bool)
        ends = [start for start, _ in self.branches[1:]] + [len(self.ids)]
        for (start, trunk), end in zip(self.branches, ends, strict=True):
            seen_NN[start:end, trunk] = True
            seen_NN[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        return torch.zeros(seen_NN.shape).masked_fill_(~seen_NN, float("-inf"))


def plant(sequences: Sequence[tuple[int, ...]], limit: int) -> list[Tree]:
    """Trees of up to `limit` tokens that hold all sequences, the largest first; sequences of one length in a row."""
    trees: list[Tree] = []
    path: list[int] = []
    before: tuple[int, ...] = ()
    for number in sorted(range(len(sequences)), key=sequences.__getitem__):
        sequence = sequences[number]
        trunk = path[: common_length(before, sequence)]
        more = len(sequence) - len(trunk)
        if not trees or len(trunk) < WORTH_SHARING * len(sequence) or len(trees[-1]) + more > limit:
            trees.append(Tree())
            trunk = []
        trees[-1].grow(number, sequence, trunk)
        path, before = trees[-1].paths[number], sequence
    return sorted(trees, key=lambda tree: (-len(tree), len(tree.branches)))


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def batches(items: Iterable[Item], tokens_of: Callable[[Item], int], batch_tokens: int) -> Iterator[list[Item]]:
    """Items in order, together up to `batch_tokens`, but at least one.

    >>> list(batches(["four", "two", "eleven"], len, 7))
    [['four', 'two'], ['eleven']]
    """
    batch: list[Item] = []
    tokens = 0
    for item in items:
        if batch and tokens + tokens_of(item) > batch_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(item)
        tokens += tokens_of(item)
    if batch:
        yield batch


class Pack:
    """Some trees as one stream of tokens, on a device."""

    def __init__(self, trees: Sequence[Tree], device: torch.device, dtype: torch.dtype) -> None:
        self.ids_N = torch.tensor([index for tree in trees for index in tree.ids], device=device)
        self.positions_N = torch.tensor([place for tree in trees for place in tree.positions], device=device)
        self.paths: dict[int, list[int]] = {}
        # Neighbours of one length and without a mask are one call of attention: where it starts, texts, length, mask.
        self._spans: list[tuple[int, int, int, Tensor | None]] = []
        start = 0
        for tree in trees:
            self.paths |= {number: [start + place for place in path] for number, path in tree.paths.items()}
            size, mask = len(tree), tree.mask()
            if mask is None and self._spans and self._spans[-1][2:] == (size, None):
                first, count, *_ = self._spans.pop()
                self._spans.append((first, count + 1, size, None))
            else:
                self._spans.append((start, 1, size, None if mask is None else mask.to(device, dtype)))
            start += size

    def attend(self, _layer: int, q_NHK: Tensor, k_NHK: Tensor, v_NHK: Tensor) -> Tensor:
        """Attention of each token to those before it in its own sequences [N, H, K]."""
        y_NHK = torch.empty_like(q_NHK, memory_format=torch.contiguous_format)
        for start, texts, size, mask_TT in self._spans:
            end, shape = start + texts * size, (texts, size, *q_NHK.shape[1:])
            q_BHTK, k_BHTK, v_BHTK = (part[start:end].view(shape).transpose(1, 2) for part in (q_NHK, k_NHK, v_NHK))
            y_BHTK = F.scaled_dot_product_attention(
                q_BHTK, k_BHTK, v_BHTK, attn_mask=mask_TT, is_causal=mask_TT is None
            )
            y_NHK[start:end] = y_BHTK.transpose(1, 2).flatten(0, 1)
        return y_NHK

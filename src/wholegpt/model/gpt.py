"""The GPT-2 decoder (section 2.3): token and position embeddings, pre-norm blocks, a last layer norm, tied output.

Names of modules and parameters are those of the released checkpoints (`wte`, `h.0.attn.c_attn.weight`), and so is the
layout of the matrices: [inputs, outputs], a layer is x @ weight + bias.

Shape suffixes: B batch, T positions of this call, S positions so far (cached ones and T), D width, H heads,
K width of a head, V vocabulary.

Left out on purpose: everything about devices, precision and parallelism, which is applied from outside.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

# Keys and values [B, H, S, K] so far, of each layer.
Cache = list[tuple[Tensor, Tensor]]
# What each position may attend to [B, 1, T, S]; on GPUs by blocks, those without such a pair left out.
Mask = Tensor | BlockMask

# Name of an activation: PyTorch's name of the approximation.
ACTIVATIONS = {"gelu_tanh": "tanh", "gelu": "none"}


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a model, under the names of the released hparams.json; the defaults are the smallest of the four."""

    vocab_size: int = 50257
    """Entries of the vocabulary."""
    n_ctx: int = 1024
    """Context window [tokens]."""
    n_embd: int = 768
    """Width of the residual stream."""
    n_layer: int = 12
    """Blocks."""
    n_head: int = 12
    """Attention heads; they divide the width."""
    dropout: float = 0.0
    """Dropout in embeddings, attention and residuals. Unstated in the paper: re-implementations publish 0.1."""
    activation: str = "gelu_tanh"
    """`gelu_tanh`, the approximation of the released code, or `gelu`, the exact function that nanoGPT trains with."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance in layer norms."""

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation is {self.activation}, expected {' or '.join(ACTIVATIONS)}")
        for name in ("vocab_size", "n_ctx", "n_embd", "n_layer", "n_head"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 up to but not including 1")


class Linear(nn.Module):
    """x @ weight + bias, the weight stored as [inputs, outputs] like in the released checkpoints."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.t(), self.bias)


class Attention(nn.Module):
    """Causal self-attention over the positions of this call and the cached ones before them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head, self.dropout = config.n_head, config.dropout
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = Linear(config.n_embd, config.n_embd)

    def forward(
        self, x_BTD: Tensor, past: tuple[Tensor, Tensor] | None, mask_BHTS: Mask | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        B, T, D = x_BTD.shape
        qkv = self.c_attn(x_BTD).view(B, T, 3, self.n_head, D // self.n_head)
        q_BHTK, k_BHSK, v_BHSK = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            k_BHSK = torch.cat((past[0], k_BHSK), dim=2)
            v_BHSK = torch.cat((past[1], v_BHSK), dim=2)
        S = k_BHSK.shape[2]
        # Counted from the lower right corner, so that cached and uncached calls are one computation: the last of the
        # T positions sees all S, the first sees S - T + 1.
        if mask_BHTS is None and 1 < T < S:
            mask_BHTS = torch.ones(T, S, dtype=torch.bool, device=x_BTD.device).tril(diagonal=S - T)
        if isinstance(mask_BHTS, BlockMask):
            y_BHTK = _by_blocks(q_BHTK.is_cuda)(q_BHTK, k_BHSK, v_BHSK, block_mask=mask_BHTS)
        else:
            y_BHTK = F.scaled_dot_product_attention(
                q_BHTK,
                k_BHSK,
                v_BHSK,
                attn_mask=mask_BHTS,
                is_causal=T == S and mask_BHTS is None,
                dropout_p=self.dropout if self.training else 0.0,
            )
        y_BTD = self.c_proj(y_BHTK.transpose(1, 2).reshape(B, T, D))
        return F.dropout(y_BTD, self.dropout, self.training), (k_BHSK, v_BHSK)


class MLP(nn.Module):
    """Two layers of four times the width with GELU between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.dropout, self.approximate = config.dropout, ACTIVATIONS[config.activation]
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x_BTD: Tensor) -> Tensor:
        y_BTD: Tensor = self.c_proj(F.gelu(self.c_fc(x_BTD), approximate=self.approximate))
        return F.dropout(y_BTD, self.dropout, self.training)


class Block(nn.Module):
    """Layer norm at the input of each sub-block, and a residual around it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(
        self, x_BTD: Tensor, past: tuple[Tensor, Tensor] | None, mask_BHTS: Mask | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended_BTD, present = self.attn(self.ln_1(x_BTD), past, mask_BHTS)
        x_BTD = x_BTD + attended_BTD
        return x_BTD + self.mlp(self.ln_2(x_BTD)), present


class GPT(nn.Module):
    """The whole model: `model(ids_BT)` gives logits_BTV; with a cache, `(logits_BTV, cache)`."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        # Where it is the id that begins a document, no document attends to those before it. The paper's do.
        self.separator: int | None = None
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_ctx, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self._initialise()

    def _initialise(self) -> None:
        """Standard deviation 0.02, positions 0.01; projections back into the residual stream divided by the root of
        the number of residual layers, two a block."""
        for name, parameter in self.named_parameters():
            if name == "wpe.weight":
                nn.init.normal_(parameter, std=0.01)
            elif name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * self.config.n_layer))
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def empty_cache(self, batch_size: int) -> Cache:
        """A cache without positions, to begin with: `logits, cache = model(ids, cache=model.empty_cache(B))`."""
        config = self.config
        nothing = self.wte.weight.new_empty(batch_size, config.n_head, 0, config.n_embd // config.n_head)
        return [(nothing, nothing) for _ in range(config.n_layer)]

    def hidden_states(self, ids_BT: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """The residual stream after the last layer norm [B, T, D], and the cache, if given, extended by T positions.

        Raises ValueError where cached and new positions exceed the context window.
        """
        T = ids_BT.shape[1]
        start = cache[0][0].shape[2] if cache else 0
        if start + T > self.config.n_ctx:
            raise ValueError(f"{start + T} positions exceed the context window of {self.config.n_ctx} tokens")
        positions = torch.arange(start, start + T, device=ids_BT.device)
        x_BTD = F.dropout(self.wte(ids_BT) + self.wpe(positions), self.config.dropout, self.training)
        mask_B1TT = None if self.separator is None or cache else self._documents_apart(ids_BT, self.separator)
        extended: Cache = []
        for layer, block in enumerate(self.h):
            x_BTD, present = block(x_BTD, cache[layer] if cache else None, mask_B1TT)
            if cache:
                extended.append(present)
        return self.ln_f(x_BTD), extended

    def _documents_apart(self, ids_BT: Tensor, separator: int) -> Mask:
        """By blocks where there is a kernel for them, which knows no dropout."""
        blocks = ids_BT.is_cuda and not self.config.dropout
        return (blocks_apart if blocks else documents_apart)(ids_BT, separator)

    def unembed(self, x_BTD: Tensor) -> Tensor:
        """Logits [B, T, V] of hidden states, in float32 outside autocast; rows that pad the embedding give none."""
        return F.linear(x_BTD, self.wte.weight)[..., : self.config.vocab_size]

    def forward(self, ids_BT: Tensor, cache: Cache | None = None) -> Tensor | tuple[Tensor, Cache]:
        x_BTD, extended = self.hidden_states(ids_BT, cache)
        logits_BTV = self.unembed(x_BTD).float()
        return logits_BTV if cache is None else (logits_BTV, extended)


def documents_apart(ids_BT: Tensor, separator: int) -> Tensor:
    """What each position may attend to [B, 1, T, T]: itself and those before it that belong to the same document.

    A document begins with the separator; before the first one lies the end of another.

    >>> documents_apart(torch.tensor([[1, 9, 2]]), separator=9)[0, 0].int().tolist()
    [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    """
    document_BT = (ids_BT == separator).cumsum(1)
    return (document_BT[:, None, :, None] == document_BT[:, None, None, :]).tril()


def blocks_apart(ids_BT: Tensor, separator: int) -> BlockMask:
    """The same as `documents_apart` for FlexAttention: nothing of the size T x T is made."""
    document_BT = (ids_BT == separator).cumsum(1)

    def may_attend(b: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (document_BT[b, query] == document_BT[b, key])

    B, T = ids_BT.shape
    return create_block_mask(may_attend, B, None, T, T, device=str(ids_BT.device))


@functools.cache
def _by_blocks(is_cuda: bool) -> Callable[..., Any]:
    """FlexAttention; uncompiled it holds all scores in memory, which is for comparisons on a CPU."""
    attend: Callable[..., Any] = flex_attention
    return torch.compile(attend) if is_cuda else attend


def parameter_count(model: nn.Module) -> int:
    """Parameters, the tied embedding counted once."""
    return sum(parameter.numel() for parameter in model.parameters())

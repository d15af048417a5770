"""How many tokens to hold at once: a stated share of the memory that is free, and never more than is of use.

A token of a pass holds, at its peak inside a block, about twelve times the width: the residual stream, its layer norm,
queries, keys and values or the four-fold layer before and after GELU; later, a part of its logits, twice. A token of a
cache holds keys and values of all layers. Whole rows of logits, 200 kB each, are made some at a time.
"""

from pathlib import Path

import torch
from torch import Tensor

from wholegpt.inference.vocabulary import PART_ENTRIES
from wholegpt.model.gpt import GPT

SHARE_OF_FREE_MEMORY = 0.25
# More do not make a pass faster: on a CPU products of this size run at full speed, on a GPU they fill it.
MOST_TOKENS = {"cpu": 2048, "cuda": 65536}
# A step of decoding reads all weights once, whatever the rows; so a cache gains from many.
MOST_CACHED_TOKENS = {"cpu": 32768, "cuda": 524288}
WIDTHS_OF_A_TOKEN = 12
LOGITS_BYTES = 2**25


def pass_tokens(model: GPT) -> int:
    """How many tokens go through the model at once, where nobody says it; at least a window."""
    weight = model.wte.weight
    token_bytes = WIDTHS_OF_A_TOKEN * model.config.n_embd * weight.element_size() + 2 * 4 * PART_ENTRIES
    return _tokens(model, token_bytes, MOST_TOKENS)


def cache_tokens(model: GPT) -> int:
    """How many tokens the caches of all texts that are written at once hold; at least a window."""
    config, weight = model.config, model.wte.weight
    token_bytes = 2 * config.n_layer * config.n_embd * weight.element_size()
    return _tokens(model, token_bytes, MOST_CACHED_TOKENS)


def logits_rows(model: GPT) -> int:
    """How many rows of logits are made at once, in float32."""
    return max(1, LOGITS_BYTES // (4 * model.config.vocab_size))


def _tokens(model: GPT, token_bytes: int, most: dict[str, int]) -> int:
    weight = model.wte.weight
    limit = most.get(weight.device.type, most["cpu"])
    free = _free_bytes(weight)
    affordable = limit if free is None else int(SHARE_OF_FREE_MEMORY * free) // token_bytes
    return max(model.config.n_ctx, min(limit, affordable))


def _free_bytes(weight: Tensor) -> int | None:
    """Free memory of the GPU, or of the machine; None where the system does not tell."""
    if weight.device.type == "cuda":
        return torch.cuda.mem_get_info(weight.device)[0]
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0])

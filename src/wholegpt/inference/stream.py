"""The model over a stream of tokens that belong to different texts: the mathematics of `model.gpt`, without padding.

All layers but attention look at each token by itself. So tokens of any number of texts stand in one row [N, D], and the
caller says, as a function, what each token attends to. Results equal the model's own, up to rounding.

Shape suffixes: N tokens of all texts, R those whose result is asked for, D width, H heads, K width of a head.
"""

from collections.abc import Callable, Iterable
from typing import cast

from torch import Tensor

from wholegpt.model.gpt import GPT, Block

# Layer, queries, keys and values of the stream [N, H, K] -> what each token takes from those it attends to [N, H, K].
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def hidden_states(model: GPT, ids_N: Tensor, positions_N: Tensor, attend: Attend, rows_R: Tensor) -> Tensor:
    """What `GPT.hidden_states` gives, at some places of the stream [R, D]; the last layer is spared the others."""
    config = model.config
    x_ND = model.wte(ids_N) + model.wpe(positions_N)
    for layer, block in enumerate(cast(Iterable[Block], model.h)):
        qkv = block.attn.c_attn(block.ln_1(x_ND)).view(-1, 3, config.n_head, config.n_embd // config.n_head)
        q_NHK, k_NHK, v_NHK = qkv.unbind(1)
        y_ND = attend(layer, q_NHK, k_NHK, v_NHK).reshape(x_ND.shape)
        if layer == config.n_layer - 1:
            x_ND, y_ND = x_ND[rows_R], y_ND[rows_R]
        x_ND = x_ND + block.attn.c_proj(y_ND)
        x_ND = x_ND + block.mlp(block.ln_2(x_ND))
    x_RD: Tensor = model.ln_f(x_ND)
    return x_RD

"""Keys and values of the texts that are being written: a row each, each with its own length, so nothing is padded.

Shape suffixes: R rows, N tokens of a pass, S positions of the longest row, D width, H heads, K width of a head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wholegpt.inference import budget, packing, stream
from wholegpt.model.gpt import GPT


class Slots:
    """A cache of `rows` texts of up to `capacity` tokens; the rows in use are the first ones, without a gap."""

    def __init__(self, model: GPT, rows: int, capacity: int) -> None:
        config = model.config
        shape = (rows, config.n_head, capacity, config.n_embd // config.n_head)
        self.lengths: list[int] = []
        """Tokens that are read, of each row in use."""
        self._model, self._weight = model, model.wte.weight
        # Zeros: what lies beyond the end of a row has no weight in the attention, but must be a number.
        self._keys = [self._weight.new_zeros(shape) for _ in range(config.n_layer)]
        self._values = [self._weight.new_zeros(shape) for _ in range(config.n_layer)]

    @torch.inference_mode()
    def read(self, sequences: Sequence[tuple[int, ...]]) -> Tensor:
        """Read some texts into new rows; the hidden state of the last token of each [R, D].

        What they begin with alike is read once.
        """
        first = len(self.lengths)
        self.lengths += [len(sequence) for sequence in sequences]
        batch_tokens = budget.pass_tokens(self._model)
        trees = packing.plant(sequences, min(batch_tokens, 2 * self._model.config.n_ctx))
        x_RD = self._weight.new_empty(len(sequences), self._weight.shape[1])
        for batch in packing.batches(trees, len, batch_tokens):
            pack = packing.Pack(batch, self._weight.device, self._weight.dtype)
            x_RD[list(pack.paths)] = self._read_pack(pack, first)
        return x_RD

    def _read_pack(self, pack: packing.Pack, first: int) -> Tensor:
        device = self._weight.device
        paths = {first + number: torch.tensor(path, device=device) for number, path in pack.paths.items()}

        def attend(layer: int, q_NHK: Tensor, k_NHK: Tensor, v_NHK: Tensor) -> Tensor:
            for row, path in paths.items():
                self._keys[layer][row, :, : len(path)] = k_NHK[path].transpose(0, 1)
                self._values[layer][row, :, : len(path)] = v_NHK[path].transpose(0, 1)
            return pack.attend(layer, q_NHK, k_NHK, v_NHK)

        last_R = torch.stack([path[-1] for path in paths.values()])
        return stream.hidden_states(self._model, pack.ids_N, pack.positions_N, attend, last_R)

    @torch.inference_mode()
    def step(self, ids: Sequence[int]) -> Tensor:
        """Read one more token in every row; its hidden state [R, D]."""
        device, longest = self._weight.device, max(self.lengths) + 1
        places_R = torch.tensor(self.lengths, device=device)
        rows_R = torch.arange(len(ids), device=device)
        beyond_RS = torch.arange(longest, device=device) > places_R[:, None]
        mask_R11S = self._weight.new_zeros(beyond_RS.shape).masked_fill_(beyond_RS, float("-inf"))[:, None, None]

        def attend(layer: int, q_RHK: Tensor, k_RHK: Tensor, v_RHK: Tensor) -> Tensor:
            keys, values = self._keys[layer], self._values[layer]
            keys[rows_R, :, places_R], values[rows_R, :, places_R] = k_RHK, v_RHK
            k_RHSK, v_RHSK = keys[: len(ids), :, :longest], values[: len(ids), :, :longest]
            return F.scaled_dot_product_attention(q_RHK[:, :, None], k_RHSK, v_RHSK, attn_mask=mask_R11S)

        self.lengths = [length + 1 for length in self.lengths]
        ids_R = torch.tensor(ids, device=device)
        return stream.hidden_states(self._model, ids_R, places_R, attend, rows_R)

    @torch.inference_mode()
    def drop(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        last = len(self.lengths) - 1
        length = self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if row == last:
            return
        for cache in (*self._keys, *self._values):
            cache[row, :, :length] = cache[last, :, :length]

"""Other people's GPT-2 in training, each brought to the same form and the same weights; for the benchmarks beside."""

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wholegpt.model.convert.contents import is_linear
from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.training import optimizer as optimizers
from wholegpt.training.loss import batch_loss

RATE, DECAY, BETAS, CLIP = 1e-3, 0.1, (0.9, 0.95), 1.0


@dataclass
class Trainee:
    """A model, how it computes the mean loss of windows [B, T + 1], and its optimizers."""

    model: nn.Module
    loss: Callable[[Tensor], Tensor]
    steppers: list[torch.optim.Optimizer]

    def step(self, windows: Tensor) -> Tensor:
        """One optimizer step as nanoGPT's train.py makes it; returns the loss before it."""
        loss = self.loss(windows)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for stepper in self.steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        return loss.detach()


def random_model(config: GPTConfig) -> GPT:
    """The weights that all begin with."""
    torch.manual_seed(0)
    return GPT(config)


def wholegpt(weights: GPT, precision: str, compiled: bool, plain: bool = False, multiple: int = 1) -> Trainee:
    """Ours; `plain` with the whole matrix of logits and F.cross_entropy; the vocabulary padded to a multiple."""
    model = GPT(weights.config).to(weights.wte.weight.device)
    model.load_state_dict(weights.state_dict())
    model.wte.weight = nn.Parameter(F.pad(model.wte.weight.detach(), (0, 0, 0, -weights.config.vocab_size % multiple)))
    of_batch = _plain_loss if plain else batch_loss
    of_batch = torch.compile(of_batch) if compiled else of_batch
    steppers = optimizers.build(model, "adamw", RATE, 0.0, DECAY, BETAS)
    return Trainee(model, lambda windows: of_batch(model, windows, precision), steppers)


def _plain_loss(model: GPT, windows: Tensor, precision: str) -> Tensor:
    with _autocast(windows, precision):
        logits = model.unembed(model.hidden_states(windows[:, :-1])[0])
        return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def nanogpt(weights: GPT, precision: str, compiled: bool, source: Path, fused: bool = False) -> Trainee:
    """nanoGPT's model.py with its own optimizer, which is fused on GPUs only, or with a fused one."""
    theirs = _module("nanogpt_model", source)
    config = weights.config
    sizes = theirs.GPTConfig(
        block_size=config.n_ctx, vocab_size=config.vocab_size, n_layer=config.n_layer, n_head=config.n_head,
        n_embd=config.n_embd, dropout=0.0, bias=True,
    )  # fmt: skip
    device = weights.wte.weight.device
    with contextlib.redirect_stdout(io.StringIO()):
        model = theirs.GPT(sizes).to(device)
        optimizer = model.configure_optimizers(DECAY, RATE, BETAS, device.type)
    copy_weights(weights, model, transposed=True)
    if fused:
        optimizer = torch.optim.AdamW(optimizer.param_groups, lr=RATE, betas=BETAS, fused=True)
    forward = torch.compile(model) if compiled else model

    def loss(windows: Tensor) -> Tensor:
        with _autocast(windows, precision):
            return forward(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())[1]

    return Trainee(model, loss, [optimizer])


def transformers(weights: GPT, precision: str, compiled: bool) -> Trainee:
    """GPT2LMHeadModel with its own loss, and fused AdamW, as its Trainer has it."""
    from transformers import GPT2Config, GPT2LMHeadModel, logging

    logging.set_verbosity_error()
    config = weights.config
    sizes = GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.n_ctx, n_embd=config.n_embd, n_layer=config.n_layer,
        n_head=config.n_head, activation_function="gelu_new" if config.activation == "gelu_tanh" else "gelu",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None, use_cache=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(sizes).to(weights.wte.weight.device)
    copy_weights(weights, model, transposed=False)
    forward = torch.compile(model) if compiled else model

    def loss(windows: Tensor) -> Tensor:
        # Its own shift would leave the last target out: the labels are shifted here.
        targets = windows[:, 1:].contiguous()
        with _autocast(windows, precision):
            return forward(input_ids=windows[:, :-1], labels=targets, shift_labels=targets).loss

    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() != 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    return Trainee(model, loss, [torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)])


def litgpt(weights: GPT, precision: str, compiled: bool) -> Trainee:
    """litgpt's nearest: its blocks with layer norm and GELU, but rotary positions and an output of its own."""
    from litgpt import GPT as Theirs
    from litgpt import Config

    config = weights.config
    sizes = Config(
        block_size=config.n_ctx, vocab_size=config.vocab_size, padded_vocab_size=config.vocab_size,
        n_layer=config.n_layer, n_head=config.n_head, n_embd=config.n_embd, rotary_percentage=1.0,
        parallel_residual=False, bias=True, norm_class_name="LayerNorm", mlp_class_name="GptNeoxMLP",
    )  # fmt: skip
    model = Theirs(sizes).to(weights.wte.weight.device)
    forward = torch.compile(model) if compiled else model

    def loss(windows: Tensor) -> Tensor:
        with _autocast(windows, precision):
            return F.cross_entropy(forward(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())

    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True)
    return Trainee(model, loss, [optimizer])


def _autocast(windows: Tensor, precision: str) -> torch.autocast:
    return torch.autocast(windows.device.type, getattr(torch, precision), enabled=precision != "float32")


def _module(name: str, source: Path) -> Any:
    specification = importlib.util.spec_from_file_location(name, source)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # its dataclass asks for it
    specification.loader.exec_module(module)
    return module


@torch.no_grad()
def copy_weights(weights: GPT, model: nn.Module, transposed: bool) -> None:
    """Put our parameters under their names, which begin with `transformer.`; the output is tied to the embedding."""
    theirs = dict(model.named_parameters())
    for name, parameter in weights.named_parameters():
        theirs.pop(f"transformer.{name}").copy_(parameter.t() if transposed and is_linear(name) else parameter)
    assert not theirs, list(theirs)

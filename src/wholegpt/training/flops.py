"""How well a machine is used: the model FLOPs utilisation (MFU), in the two conventions that are in use.

    MFU = FLOPs a token x tokens a second / peak FLOP/s

One multiplication and one addition are two FLOPs; the backward pass takes twice the forward pass; what activation
checkpointing computes again does not count. With N parameters without positions, L layers, width D, windows of T:

    palm    6 N + 12 L D T      PaLM's (Chowdhery et al. 2022) and nanoGPT's: attention over the full square
    exact   6 M +  6 L D T      M weights in matrix products only, and attention as causal as it is

gpt2 at T = 1,024: 0.855 and 0.798 GFLOP a token.
"""

import time

import torch

from wholegpt.model.gpt import GPTConfig

# Nominal dense matrix products in bfloat16, or float16 before Ampere [FLOP/s], by a part of the device's name.
PEAKS = {
    "B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "A40": 150e12,
    "A10G": 70e12, "A10": 125e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12, "RTX 4090": 165e12, "RTX 3090": 71e12,
    "V100": 125e12, "T4": 65e12, "MI300X": 1307e12,
}  # fmt: skip
PRODUCT_SIZES = (128, 256, 512, 1024, 2048, 4096)
TIMED_PRODUCTS = 3
ENOUGH_SECONDS = 0.01


def palm_flops(config: GPTConfig, window: int) -> int:
    """FLOPs of forward and backward pass a token, PaLM's convention.

    >>> palm_flops(GPTConfig(), 1024)
    855166464
    """
    vectors = config.n_layer * 13 * config.n_embd + 2 * config.n_embd
    return 6 * (_matrices(config) + vectors) + 12 * config.n_layer * config.n_embd * window


def exact_flops(config: GPTConfig, window: int) -> int:
    """FLOPs of forward and backward pass a token in matrix products and causal attention.

    >>> exact_flops(GPTConfig(), 1024)
    797815296
    """
    return 6 * _matrices(config) + 6 * config.n_layer * config.n_embd * window


def _matrices(config: GPTConfig) -> int:
    return 12 * config.n_layer * config.n_embd**2 + config.vocab_size * config.n_embd


def peak_flops(device: torch.device, precision: str) -> float:
    """Peak FLOP/s of a device: nominal where it is known, else measured here by one matrix product."""
    if device.type == "cuda" and precision != "float32":
        name = torch.cuda.get_device_name(device)
        for part, peak in PEAKS.items():
            if part in name:
                return peak
    return measured_flops(device, getattr(torch, precision))


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of products of square matrices, by the threads that PyTorch uses now.

    The matrices grow until a product takes long enough to be timed: a processor without bfloat16 can be a hundred
    times slower in it.
    """
    fastest = 0.0
    for size in PRODUCT_SIZES:
        x = torch.ones(size, size, dtype=dtype, device=device)
        for _ in range(TIMED_PRODUCTS):
            start = time.perf_counter()
            float((x @ x)[0, 0])  # waits for the device
            seconds = time.perf_counter() - start
            fastest = max(fastest, 2 * size**3 / seconds)
        if seconds > ENOUGH_SECONDS:
            break
    return fastest

"""What needs no model: bits per byte of trivial predictors and compressors on the same text."""

import gzip
import lzma
import math

import numpy as np
from numpy.typing import NDArray


def compressors(text: bytes) -> dict[str, float]:
    """Bits per byte of gzip -9 and xz -9 on the text alone; they have seen no training text."""
    sizes = {"gzip -9": len(gzip.compress(text, 9)), "xz -9": len(lzma.compress(text, preset=9))}
    return {name: round(8 * size / len(text), 5) for name, size in sizes.items()}


def predictors(
    train_counts: NDArray[np.int64], tested_counts: NDArray[np.int64], eot: int, size_bytes: int
) -> dict[str, float]:
    """Bits per byte of two predictors over the tokenizer's entries: all equally likely, and by their frequency in the
    training part (add-one smoothed). `<|endoftext|>` is not counted, as it is not with the model."""
    text_counts = tested_counts.copy()
    text_counts[eot] = 0
    smoothed = train_counts + 1
    smoothed[eot] = 0
    with np.errstate(divide="ignore"):
        bits = np.where(smoothed > 0, -np.log2(smoothed / smoothed.sum()), 0.0)
    uniform = float(text_counts.sum()) * math.log2(len(text_counts) - 1)
    unigram = float((text_counts * bits).sum())
    return {"uniform": round(uniform / size_bytes, 5), "unigram": round(unigram / size_bytes, 5)}

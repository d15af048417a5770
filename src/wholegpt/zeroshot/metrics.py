"""Perplexity in every unit, from one total: how surprised the model was, and how much text that was."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Likelihood:
    """The negative log-probability of a text [nats] and its size; words are what white space separates.

    The units of the original text are what makes models with different vocabularies comparable: perplexity per word
    and bits per byte are, perplexity per token is not.

    >>> Likelihood(nats=693.147, tokens=500, words=250, bytes=1000).figures()["bits_per_byte"]
    1.0
    """

    nats: float
    tokens: int
    words: int
    bytes: int

    def __add__(self, other: "Likelihood") -> "Likelihood":
        return Likelihood(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.words + other.words,
            self.bytes + other.bytes,
        )

    def figures(self) -> dict[str, float]:
        """All units; infinity where a text has none of one."""
        return {
            "nats": round(self.nats, 4),
            "token_perplexity": _perplexity(self.nats, self.tokens),
            "word_perplexity": _perplexity(self.nats, self.words),
            "bits_per_byte": round(self.nats / math.log(2) / self.bytes, 5) if self.bytes else math.inf,
        }


NOTHING = Likelihood(0.0, 0, 0, 0)


def _perplexity(nats: float, units: int) -> float:
    if not units or nats / units > 700:  # beyond what a float holds
        return math.inf
    return round(math.exp(nats / units), 4)

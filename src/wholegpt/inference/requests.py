"""What can be asked of a model, and what it answers; everything is in token ids, and nothing is cut to fit.

Three verbs serve every evaluation: the log-likelihood of a continuation, that of a text window by window (rolling), and
generation until a stop string. Whoever asks cuts what exceeds the window, by a rule of its own; here it is an error.
"""

from dataclasses import dataclass

from wholegpt.model.gpt import GPTConfig


@dataclass(frozen=True)
class Continuation:
    """How likely are `ids` after `context`? Neither is empty."""

    context: tuple[int, ...]
    ids: tuple[int, ...]
    candidates: int = 0
    """How many of the most likely tokens after the context to tell as well."""


@dataclass(frozen=True)
class Scored:
    """The natural log-probability of each token, and which of them greedy decoding gives.

    `candidates` are the most likely tokens at the place of the first one, with their log-probabilities, best first.
    LAMBADA's stop-word filter chooses among them; a `Generation` whose prompt ends with the chosen one goes on from it.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]
    candidates: tuple[tuple[int, float], ...] = ()

    @property
    def logprob(self) -> float:
        return sum(self.logprobs)

    @property
    def is_greedy(self) -> bool:
        return all(self.greedy)


@dataclass(frozen=True)
class Window:
    """How likely are the last `count` of `ids`, each after those before it?"""

    ids: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Generation:
    """Go on from `prompt` (not empty) for so many tokens, or until the text holds a stop string or the document ends.

    Temperature 0 is greedy, top_k 0 keeps every token; the noise depends on the seed alone.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_k: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Generated:
    """The text before the first stop string, the tokens that make it, and the natural log-probability of each.

    The last token may reach beyond the text, where the stop string begins inside it. Log-probabilities are the model's
    own, before temperature and top-k.
    """

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


def check_window(read: int, config: GPTConfig) -> None:
    """ValueError for a request that makes the model read more than its window."""
    if read > config.n_ctx:
        raise ValueError(f"a request reads {read} tokens, more than the window of {config.n_ctx}")


def as_window(request: Continuation, config: GPTConfig) -> Window:
    """A continuation as the window that it makes; ValueError where a part is empty or the whole too long."""
    if not request.context or not request.ids:
        raise ValueError("the context or the continuation of a request is empty")
    check_window(len(request.context) + len(request.ids) - 1, config)
    return Window(request.context + request.ids, len(request.ids))

"""Generation: read the prompts, then write one token after another in all texts at once, with a key-value cache.

Texts of any length share a batch; one that ends leaves it, and waiting ones take the free rows. A text depends on its
request alone: its noise is its own, and so, up to rounding, are its logits.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wholegpt.inference import budget
from wholegpt.inference.requests import Generated, Generation, check_window
from wholegpt.inference.sampling import next_token, request_generator
from wholegpt.inference.slots import Slots
from wholegpt.model.gpt import GPT
from wholegpt.tokenizer import Tokenizer

# New texts enter when at most this share of the rows is in use: read together, they share what they begin with.
ROWS_BEFORE_ENTRY = 0.75


@dataclass
class Text:
    """A text that is being written."""

    index: int
    request: Generation
    noise: torch.Generator
    ends: int | None
    """The token that ends it."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    written: bytearray = field(default_factory=bytearray)
    finished: bool = False

    def take(self, logits_V: Tensor, tokenizer: Tokenizer) -> None:
        """Choose the next token from float32 logits on the CPU."""
        token = next_token(logits_V, self.request.temperature, self.request.top_k, self.noise)
        if token == self.ends:
            self.finished = True
            return
        self.ids.append(token)
        self.logprobs.append(float(logits_V[token] - logits_V.logsumexp(dim=-1)))
        self.written += tokenizer.token_bytes(token)
        whole = len(self.ids) == self.request.max_new_tokens
        self.finished = self._cut(tokenizer) or whole  # the last token, too, may hold a stop string

    def _cut(self, tokenizer: Tokenizer) -> bool:
        """End before the first stop string; whether there is one."""
        places = [self.written.find(stop.encode()) for stop in self.request.stop]
        found = [place for place in places if place >= 0]
        if found:
            del self.written[min(found) :]
            while self.ids and len(tokenizer.decode_bytes(self.ids[:-1])) >= len(self.written):
                self.ids.pop()
                self.logprobs.pop()
        return bool(found)

    def result(self) -> Generated:
        return Generated(self.written.decode("utf-8", "replace"), tuple(self.ids), tuple(self.logprobs))


def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int = 40,
    temperature: float = 1.0,
    top_k: int = 40,
    seed: int = 0,
    stop_at_eot: bool = False,
) -> list[str]:
    """The continuations of some prompts, without the prompts.

    Prompts are ordinary text; an empty one is `<|endoftext|>`, the start of a document. Temperature 0 is greedy, top_k
    0 keeps every token. `<|endoftext|>` ends a text only with `stop_at_eot`. A character that is cut off at the end
    becomes U+FFFD. Beyond the context window the model goes on from the last half of it.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts is one string, expected a list of strings")
    if temperature < 0 or max_new_tokens < 0 or top_k < 0:
        raise ValueError("temperature, top_k and max_new_tokens must not be negative")
    ends = tokenizer.eot if stop_at_eot else None
    texts = []
    for index, prompt in enumerate(prompts):
        ids = tuple(tokenizer.encode_ordinary(prompt) or [tokenizer.eot])
        request = Generation(ids, max_new_tokens, (), temperature, top_k, seed)
        texts.append(Text(index, request, request_generator(seed, index), ends))
    found = {text.index: text.result().text for text in _write(model, tokenizer, texts, budget.cache_tokens(model))}
    return [found[index] for index in range(len(prompts))]


def generate_until(
    model: GPT, tokenizer: Tokenizer, requests: Sequence[Generation], batch_tokens: int | None = None
) -> Iterator[tuple[int, Generated]]:
    """The index of each request and its result, in the order in which they get done.

    A text ends before its first stop string, which may begin inside a token, and at `<|endoftext|>`. `batch_tokens`
    (default: `budget.cache_tokens`) is how many tokens the texts of a batch may have at their ends, all together.
    ValueError for an empty prompt, and where prompt and new tokens exceed the window.
    """
    for request in requests:
        if not request.prompt or request.max_new_tokens < 0 or request.temperature < 0 or request.top_k < 0:
            raise ValueError("the prompt of a request is empty, or one of its numbers is negative")
        check_window(len(request.prompt) + request.max_new_tokens, model.config)
    texts = [
        Text(index, request, request_generator(request.seed, 0), tokenizer.eot)
        for index, request in enumerate(requests)
    ]
    for text in _write(model, tokenizer, texts, batch_tokens or budget.cache_tokens(model)):
        yield text.index, text.result()


def _write(model: GPT, tokenizer: Tokenizer, texts: Sequence[Text], cache_tokens: int) -> Iterator[Text]:
    """The texts, as each is finished; neighbours in the alphabet are read together."""
    yield from (text for text in texts if not text.request.max_new_tokens)
    waiting = deque(
        sorted((text for text in texts if text.request.max_new_tokens), key=lambda text: text.request.prompt)
    )
    window = model.config.n_ctx
    longest = max((len(text.request.prompt) + text.request.max_new_tokens for text in waiting), default=1)
    capacity = min(longest, window)
    rows = max(1, min(len(waiting), cache_tokens // capacity))
    slots = Slots(model, rows, capacity)
    writing: list[Text] = []
    while waiting or writing:
        first = 0
        if waiting and len(writing) <= ROWS_BEFORE_ENTRY * rows and len(writing) < rows:
            first = len(writing)
            writing += [waiting.popleft() for _ in range(min(rows - first, len(waiting)))]
            x_RD = slots.read([_to_read(text, window) for text in writing[first:]])
        else:
            x_RD = slots.step([text.ids[-1] for text in writing])
        _take(model, tokenizer, x_RD, writing[first:])
        for row in reversed(range(first, len(writing))):
            text, full = writing[row], slots.lengths[row] == window
            if text.finished or full:
                slots.drop(row)
                writing[row] = writing[-1]
                writing.pop()
            if text.finished:
                yield text
            elif full:
                waiting.appendleft(text)


def _to_read(text: Text, window: int) -> tuple[int, ...]:
    """A prompt, of a long one its end; of a text that has filled its window, the last half of a window."""
    whole = (*text.request.prompt, *text.ids)
    return whole[-window:] if not text.ids else whole[-max(1, window // 2) :]


@torch.inference_mode()
def _take(model: GPT, tokenizer: Tokenizer, x_RD: Tensor, texts: Sequence[Text]) -> None:
    """Choose the next token of each text, some rows of logits at a time."""
    size = budget.logits_rows(model)
    for start in range(0, len(texts), size):
        logits_CV = model.unembed(x_RD[start : start + size]).float().cpu()
        for text, logits_V in zip(texts[start : start + size], logits_CV, strict=True):
            text.take(logits_V, tokenizer)

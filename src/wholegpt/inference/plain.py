"""The readable twin of scoring and generation: one request at a time, the whole model at every step, no cache.

Nothing in the package uses it; the tests hold the fast paths to it.
"""

import torch

from wholegpt.inference.requests import Continuation, Generated, Generation, Scored, Window, as_window, check_window
from wholegpt.inference.sampling import next_token, request_generator
from wholegpt.model.gpt import GPT
from wholegpt.tokenizer import Tokenizer


@torch.inference_mode()
def window_loglikelihood(model: GPT, request: Window) -> Scored:
    """What `scoring.windows_loglikelihoods` gives for one window."""
    check_window(len(request.ids) - 1, model.config)
    ids_T = torch.tensor(request.ids, device=model.wte.weight.device)
    logprobs_TV = model.unembed(model.hidden_states(ids_T[None, :-1])[0])[0].float().log_softmax(-1)
    targets = request.ids[-request.count :]
    rows = logprobs_TV[-request.count :]
    return Scored(
        tuple(float(row[target]) for row, target in zip(rows, targets, strict=True)),
        tuple(int(row.argmax()) == target for row, target in zip(rows, targets, strict=True)),
    )


@torch.inference_mode()
def loglikelihood(model: GPT, request: Continuation) -> Scored:
    """What `scoring.loglikelihoods` gives for one request."""
    found = window_loglikelihood(model, as_window(request, model.config))
    context_BT = torch.tensor([request.context], device=model.wte.weight.device)
    logprobs_V = model.unembed(model.hidden_states(context_BT)[0])[0, -1].float().log_softmax(-1)
    best = logprobs_V.topk(request.candidates)
    return Scored(found.logprobs, found.greedy, tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)))


@torch.inference_mode()
def generate_until(model: GPT, tokenizer: Tokenizer, request: Generation) -> Generated:
    """What `engine.generate_until` gives for one request."""
    check_window(len(request.prompt) + request.max_new_tokens, model.config)
    generator = request_generator(request.seed, 0)
    ids: list[int] = []
    logprobs: list[float] = []
    for _ in range(request.max_new_tokens):
        ids_BT = torch.tensor([[*request.prompt, *ids]], device=model.wte.weight.device)
        logits_V = model.unembed(model.hidden_states(ids_BT)[0])[0, -1].float().cpu()
        token = next_token(logits_V, request.temperature, request.top_k, generator)
        if token == tokenizer.eot:
            break
        ids.append(token)
        logprobs.append(float(logits_V.log_softmax(-1)[token]))
        written = tokenizer.decode_bytes(ids)
        found = [place for stop in request.stop if (place := written.find(stop.encode())) >= 0]
        if found:
            text = written[: min(found)]
            count = next(n for n in range(len(ids) + 1) if len(tokenizer.decode_bytes(ids[:n])) >= len(text))
            return Generated(text.decode("utf-8", "replace"), tuple(ids[:count]), tuple(logprobs[:count]))
    return Generated(tokenizer.decode(ids), tuple(ids), tuple(logprobs))

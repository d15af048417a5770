"""Requests: sums and flags of a result, and what is refused."""

import pytest

from wholegpt.inference.requests import Continuation, Scored, Window, as_window, check_window
from wholegpt.model.gpt import GPTConfig

CONFIG = GPTConfig(10, n_ctx=4, n_embd=4, n_layer=1, n_head=1)


def test_a_result_sums_up():
    scored = Scored((-1.0, -0.5), (True, False))
    assert (scored.logprob, scored.is_greedy) == (-1.5, False)
    assert Scored((-1.0,), (True,)).is_greedy


def test_a_continuation_is_a_window_that_may_predict_one_token_beyond_what_is_read():
    assert as_window(Continuation((1, 2), (3, 4, 5)), CONFIG) == Window((1, 2, 3, 4, 5), 3)
    with pytest.raises(ValueError, match="reads 5 tokens, more than the window of 4"):
        as_window(Continuation((1, 2, 3), (3, 4, 5)), CONFIG)
    with pytest.raises(ValueError, match="is empty"):
        as_window(Continuation((), (3,)), CONFIG)
    check_window(4, CONFIG)

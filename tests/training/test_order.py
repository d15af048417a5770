"""The order of training: a bijection, seekable, and without patterns in its low bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.training.order import ROUNDS, WindowOrder, keys, permute


@given(st.integers(1, 5000), st.integers(0, 2**63), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_bijection(size, seed, epoch):
    found = permute(np.arange(size, dtype=np.uint64), size, keys(seed, epoch, ROUNDS))
    assert np.array_equal(np.sort(found), np.arange(size))


@pytest.mark.parametrize("size", [1000, 2**20])
def test_low_bits_have_no_pattern(size):
    found = permute(np.arange(size, dtype=np.uint64), size, keys(1, 0, ROUNDS)).astype(np.int64)
    low = found & 1
    bound = 5 / np.sqrt(size)
    for bit in range((size - 1).bit_length()):
        agree = np.mean(low == (np.arange(size) >> bit & 1))
        assert abs(agree - 0.5) * 2 < bound, bit
    assert abs(np.mean(low[1:] != low[:-1]) - 0.5) * 2 < bound
    assert len(np.unique(np.diff(found))) > 0.6 * size


def test_every_window_once_an_epoch_and_seekable():
    order = WindowOrder(tokens=10_000, length=64, seed=3)
    first = order.starts(0, order.windows)
    assert np.array_equal(np.sort(first), np.arange(order.windows) * 64)
    second = order.starts(order.windows, order.windows)
    assert not np.array_equal(first, second)
    assert len(np.unique(second)) == order.windows
    everything = order.starts(0, 3 * order.windows)
    assert np.array_equal(everything[100:250], order.starts(100, 150))


@given(st.integers(2, 400), st.integers(1, 99), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_windows_lie_inside(tokens, length, seed):
    if tokens < length + 1:
        with pytest.raises(ValueError, match="fewer than one window"):
            WindowOrder(tokens, length, seed)
        return
    order = WindowOrder(tokens, length, seed)
    starts = order.starts(0, 4 * order.windows)
    assert starts.min() >= 0
    assert starts.max() + length + 1 <= tokens


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 15, 16, 17, 255, 256, 257, 65_537])
def test_a_bijection_at_the_edges(size):
    found = permute(np.arange(size, dtype=np.uint64), size, keys(3, 1, ROUNDS))
    assert np.array_equal(np.sort(found), np.arange(size))


def test_orders_differ_by_seed_and_epoch():
    numbers = np.arange(50, dtype=np.uint64)
    orders = [
        tuple(permute(numbers, 50, keys(seed, epoch, ROUNDS)).tolist()) for seed in (-1, 0, 1) for epoch in range(5)
    ]
    assert len(set(orders)) == 15


def test_batches_read_the_order_on_and_on():
    order = WindowOrder(tokens=1000, length=10, seed=3)
    batches = np.concatenate([order.starts(first, 7) for first in range(0, 350, 7)])
    assert np.array_equal(batches, order.starts(0, 350))


def test_later_epochs_shift_the_grid():
    order = WindowOrder(tokens=10_000, length=64, seed=3)
    shifts = [set((order.starts(epoch * order.windows, order.windows) % 64).tolist()) for epoch in range(6)]
    assert shifts[0] == {0}
    assert all(len(shift) == 1 for shift in shifts)
    assert len(set.union(*shifts)) > 3


def test_an_epoch_predicts_each_token_once():
    order = WindowOrder(tokens=1000, length=10, seed=0)
    predicted = [start + offset for start in order.starts(0, order.windows).tolist() for offset in range(1, 11)]
    # (1000 - 10) // 10 = 99 windows; the room of the last is what later epochs shift into.
    assert sorted(predicted) == list(range(1, 991))

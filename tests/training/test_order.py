"""The order of training: a bijection, seekable, and without patterns in its low bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholegpt.training import order
from wholegpt.training.order import ROUNDS, WindowOrder, keys, mix, permute, samples


@given(st.integers(1, 5000), st.integers(0, 2**63), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_bijection(size, seed, epoch):
    found = permute(np.arange(size, dtype=np.uint64), size, keys(seed, epoch, ROUNDS))
    assert np.array_equal(np.sort(found), np.arange(size))


def twin(number: int, size: int, round_keys: list[int]) -> int:
    """`permute` for one number, in Python's own integers."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    while True:
        left, right = number >> half, number % 2**half
        for key in round_keys:
            z = (right * 0x9E3779B97F4A7C15 + key) % 2**64
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
            left, right = right, left ^ (z ^ z >> 31) % 2**half
        number = left << half | right
        if number < size:
            return number


def test_splitmix64_gives_its_published_numbers():
    states = np.uint64(1234567) + order._GOLDEN * np.arange(1, 4, dtype=np.uint64)
    assert mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(1, 2**50), st.integers(0, 2**40), st.integers(0, 2**50), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_the_network_is_that_of_its_twin(size, seed, number, epoch):
    number %= size
    round_keys = keys(seed, epoch, ROUNDS)
    found = permute(np.array([number], np.uint64), size, round_keys)
    assert found.tolist() == [twin(number, size, round_keys.tolist())]


def test_the_order_stays_the_same_for_good():
    """A resumed run reads on in the order of its beginning, whatever version of this code began it."""
    windows = WindowOrder(tokens=10**9, length=1024, seed=7)
    assert windows.starts(976_000, 4).tolist() == [287640576, 274525184, 559672320, 879665152]
    assert windows.starts(2_000_000, 4).tolist() == [696138497, 20822785, 144625409, 894950145]


@pytest.mark.parametrize("size", [1, 2, 3, *range(4, 40), 1000, 9_765])
def test_a_bijection_of_every_small_size(size):
    found = permute(np.arange(size, dtype=np.uint64), size, keys(1, 0, ROUNDS))
    assert np.array_equal(np.sort(found), np.arange(size))


# The first 2**20 indices (all, where there are fewer), as design notes measured them: how much of the lowest bit of
# the order follows from one bit of the index, how much its parity alternates, and how many of its gaps are distinct.
SIZES = [1000, 9_765_625, 2**24]


def patterns(size: int) -> tuple[float, float, float]:
    count = min(size, 2**20)
    found = permute(np.arange(count, dtype=np.uint64), size, keys(1, 0, ROUNDS)).astype(np.int64)
    low, index = found & 1, np.arange(count)
    bits = range((count - 1).bit_length())
    following = max(abs(np.mean(low == (index >> bit & 1)) - 0.5) * 2 for bit in bits)
    alternating = abs(np.mean(low[1:] != low[:-1]) - 0.5) * 2
    return following, alternating, len(np.unique(np.diff(found))) / count


@pytest.mark.parametrize("size", SIZES)
def test_low_bits_have_no_pattern(size):
    following, alternating, gaps = patterns(size)
    noise = 5 / np.sqrt(min(size, 2**20))
    assert following < noise
    assert alternating < noise
    assert gaps > (0.6 if size == 1000 else 0.95)


@pytest.mark.parametrize("size", SIZES)
def test_a_product_as_round_function_would_show_one(size, monkeypatch):
    monkeypatch.setattr(order, "mix", lambda z: z)
    following, alternating, _ = patterns(size)
    assert max(following, alternating) > 0.3


def test_every_window_once_an_epoch_and_seekable():
    windows = WindowOrder(tokens=10_000, length=64, seed=3)
    first = windows.starts(0, windows.windows)
    assert np.array_equal(np.sort(first), np.arange(windows.windows) * 64)
    second = windows.starts(windows.windows, windows.windows)
    assert not np.array_equal(first, second)
    assert len(np.unique(second)) == windows.windows
    everything = windows.starts(0, 3 * windows.windows)
    assert np.array_equal(everything[100:250], windows.starts(100, 150))


@given(st.integers(2, 400), st.integers(1, 99), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_windows_lie_inside(tokens, length, seed):
    if tokens < length + 1:
        with pytest.raises(ValueError, match="fewer than one window"):
            WindowOrder(tokens, length, seed)
        return
    windows = WindowOrder(tokens, length, seed)
    starts = windows.starts(0, 4 * windows.windows)
    assert starts.min() >= 0
    assert starts.max() + length + 1 <= tokens


def test_orders_differ_by_seed_and_epoch():
    numbers = np.arange(50, dtype=np.uint64)
    orders = [
        tuple(permute(numbers, 50, keys(seed, epoch, ROUNDS)).tolist()) for seed in (-1, 0, 1) for epoch in range(5)
    ]
    assert len(set(orders)) == 15


def test_batches_read_the_order_on_and_on():
    windows = WindowOrder(tokens=1000, length=10, seed=3)
    batches = np.concatenate([windows.starts(first, 7) for first in range(0, 350, 7)])
    assert np.array_equal(batches, windows.starts(0, 350))


def test_later_epochs_shift_the_grid():
    windows = WindowOrder(tokens=10_000, length=64, seed=3)
    shifts = [set((windows.starts(epoch * windows.windows, windows.windows) % 64).tolist()) for epoch in range(6)]
    assert shifts[0] == {0}
    assert all(len(shift) == 1 for shift in shifts)
    assert len(set.union(*shifts)) > 3


def test_an_epoch_predicts_each_token_once():
    windows = WindowOrder(tokens=1000, length=10, seed=0)
    predicted = [start + offset for start in windows.starts(0, windows.windows).tolist() for offset in range(1, 11)]
    # (1000 - 10) // 10 = 99 windows; the room of the last is what later epochs shift into.
    assert sorted(predicted) == list(range(1, 991))


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 9))
@settings(max_examples=80, deadline=None)
def test_ranks_share_the_samples_of_a_step(step, batch_size, ranks):
    parts = [samples(step, batch_size, rank, ranks) for rank in range(ranks)]
    whole = samples(step, batch_size)
    assert whole.tolist() == list(range(step * batch_size, (step + 1) * batch_size))
    assert sorted(np.concatenate(parts).tolist()) == whole.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    windows = WindowOrder(tokens=5000, length=10, seed=step)
    by_sample = dict(zip(whole.tolist(), windows.starts(step * batch_size, batch_size).tolist(), strict=True))
    for part in parts:
        assert windows.starts_of(part).tolist() == [by_sample[number] for number in part.tolist()]


@pytest.mark.parametrize(("rank", "ranks"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_does_not_exist(rank, ranks):
    with pytest.raises(ValueError, match=f"rank {rank} of {ranks}"):
        samples(0, 8, rank, ranks)


def test_few_tokens_and_far_samples():
    windows = WindowOrder(tokens=11, length=10, seed=0)
    assert windows.starts(0, 3).tolist() == [0, 0, 0]
    far = WindowOrder(tokens=10**12, length=1024, seed=1)
    assert 0 <= far.starts(2**62, 2).min() <= far.starts(2**62, 2).max() < 10**12

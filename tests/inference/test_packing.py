"""Trees of sequences: each distinct beginning once, each token after its own, all of them in some batch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.inference import packing

# Few different tokens, so that many sequences begin alike.
SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=12)


@given(SEQUENCES, st.integers(0, 40))
def test_paths_give_the_sequences_back(sequences, limit):
    trees = packing.plant(sequences, limit)
    found = {number: tree for tree in trees for number in tree.paths}
    assert sorted(found) == list(range(len(sequences)))
    for number, tree in found.items():
        path = tree.paths[number]
        assert tuple(tree.ids[place] for place in path) == sequences[number]
        assert [tree.positions[place] for place in path] == list(range(len(path)))
    assert all(len(tree.ids) <= limit for tree in trees if len(tree.paths) > 1)


@given(SEQUENCES)
def test_each_token_sees_those_before_it_in_its_sequence(sequences):
    for tree in packing.plant(sequences, limit=99):
        mask = tree.mask()
        seen = torch.ones(len(tree.ids), len(tree.ids)).tril() if mask is None else mask.exp()
        for path in tree.paths.values():
            for depth, place in enumerate(path):
                assert sorted(path[: depth + 1]) == seen[place].nonzero().flatten().tolist()


def test_a_shared_beginning_stands_there_once():
    context = tuple(range(20))
    (tree,) = packing.plant([(*context, 30, 31), (*context, 30), (*context, 40), context], limit=99)
    assert len(tree.ids) == 23
    assert [len(tree.ids) for tree in packing.plant([(1, 2, 3, 4, 5), (1, 9, 9, 9, 9)], 99)] == [5, 5]  # too little
    assert [len(tree.ids) for tree in packing.plant([context, context], limit=0)] == [20, 20]


def test_example_of_the_module():
    (tree,) = packing.plant([(5, 7, 2, 4), (5, 7, 2, 6, 1)], limit=99)
    assert (tree.ids, tree.positions) == ([5, 7, 2, 4, 6, 1], [0, 1, 2, 3, 3, 4])
    assert tree.paths == {0: [0, 1, 2, 3], 1: [0, 1, 2, 4, 5]}


@given(SEQUENCES, st.integers(1, 30))
def test_batches_hold_each_tree_once_and_keep_to_the_budget(sequences, batch_tokens):
    trees = packing.plant(sequences, limit=9)
    batches = list(packing.batches(trees, len, batch_tokens))
    assert [tree for batch in batches for tree in batch] == trees
    assert all(len(batch) == 1 or sum(map(len, batch)) <= batch_tokens for batch in batches)

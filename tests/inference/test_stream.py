"""The model over a stream of several texts gives what the model gives for each of them."""

import torch

from wholegpt.inference import packing, stream


def test_a_stream_of_texts_equals_each_by_itself(model):
    torch.manual_seed(0)
    sequences = [tuple(torch.randint(0, 300, (size,)).tolist()) for size in (5, 9, 5, 1, 32)]
    sequences += [(*sequences[1][:7], 3, 4), sequences[1][:7]]
    pack = packing.Pack(packing.plant(sequences, limit=99), torch.device("cpu"), torch.float32)
    assert len(pack.ids_N) == 5 + 9 + 5 + 1 + 32 + 2
    with torch.inference_mode():
        x_ND = stream.hidden_states(model, pack.ids_N, pack.positions_N, pack.attend, torch.arange(len(pack.ids_N)))
        for number, sequence in enumerate(sequences):
            expected, _ = model.hidden_states(torch.tensor([sequence]))
            torch.testing.assert_close(x_ND[pack.paths[number]], expected[0], atol=2e-5, rtol=1e-5)


def test_only_some_places_are_asked_for(model):
    pack = packing.Pack(packing.plant([(1, 2, 3), (4, 5)], limit=9), torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        whole = stream.hidden_states(model, pack.ids_N, pack.positions_N, pack.attend, torch.arange(5))
        some = stream.hidden_states(model, pack.ids_N, pack.positions_N, pack.attend, torch.tensor([4, 1, 1]))
    torch.testing.assert_close(some, whole[[4, 1, 1]])

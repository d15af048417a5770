"""Work shared out over ranks and gathered: two score and write what one does, whatever each has to do."""

import json
import runpy
import subprocess
import sys
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.ranks import Team, portion

# Scores and writes its share of some requests, gathers, and writes down what all found.
PROGRAM = """
import json, pathlib, sys, torch
from wholegpt.inference.engine import generate_until
from wholegpt.inference.requests import Continuation, Generation
from wholegpt.inference.scoring import loglikelihoods
from wholegpt.model import checkpoint
from wholegpt.ranks import join, portion

torch.set_num_threads(1)
model, tokenizer = checkpoint.load(sys.argv[1])
ids = tokenizer.encode_ordinary("The river rises in the hills and runs to the sea.")
scored = [Continuation(tuple(ids[:n]), tuple(ids[n : n + 2])) for n in range(1, 14)]
written = [Generation(tuple(ids[:n]), 5, temperature=t, seed=n) for n in range(1, 8) for t in (0.0, 1.0)]
with join("cpu", 30) as team:
    mine = portion([len(request.context) for request in scored], team.rank, team.count)
    found = loglikelihoods(model, [scored[number] for number in mine])
    likelihoods = {mine[index]: [result.logprob, result.is_greedy] for index, result in found}
    mine = portion([len(request.prompt) for request in written], team.rank, team.count)
    found = generate_until(model, tokenizer, [written[number] for number in mine])
    texts = {mine[index]: result.text for index, result in found}
    gathered = team.gather((likelihoods, texts))
    (pathlib.Path(sys.argv[2]) / str(team.rank)).write_text(json.dumps(gathered))
"""


def test_two_ranks_find_what_one_does(run, tmp_path, monkeypatch):
    program, alone, together = tmp_path / "program.py", tmp_path / "alone", tmp_path / "together"
    program.write_text(PROGRAM, encoding="utf-8")
    alone.mkdir()
    together.mkdir()
    monkeypatch.setattr(sys, "argv", [str(program), str(run), str(alone)])
    runpy.run_path(str(program))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, str(program), str(run), str(together)], timeout=60, check=True)
    ((expected, texts),) = json.loads((alone / "0").read_text())
    two = json.loads((together / "0").read_text())
    assert json.loads((together / "1").read_text()) == two
    assert len(two) == 2
    likelihoods = dict(chain.from_iterable(part.items() for part, _ in two))
    assert len(likelihoods) == len(expected) == 13
    assert min(len(part) for part, _ in two) >= 6
    for number, (logprob, greedy) in expected.items():
        assert likelihoods[number] == [pytest.approx(logprob, abs=1e-4), greedy]
    assert dict(chain.from_iterable(part.items() for _, part in two)) == texts


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 5))
def test_every_piece_is_one_ranks_and_none_has_much_more(sizes, count):
    shares = [portion(sizes, rank, count) for rank in range(count)]
    assert sorted(chain.from_iterable(shares)) == list(range(len(sizes)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    loads = [sum(sizes[number] for number in mine) for mine in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)


def test_alone_there_is_one_value():
    team = Team(torch.device("cpu"))
    assert team.gather("value") == ["value"]
    assert portion([3, 1, 2], team.rank, team.count) == [0, 1, 2]

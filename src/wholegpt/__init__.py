"""wholeGPT: the whole of "Language Models are Unsupervised Multitask Learners" (GPT-2) as working software.

    import wholegpt
    tokenizer = wholegpt.Tokenizer.load("gpt2")
    model, tokenizer = wholegpt.load("demo/run")
    wholegpt.generate(model, tokenizer, ["In the beginning"], max_new_tokens=40)
    wholegpt.score(model, tokenizer, [("The capital of France is", " Paris")])

Names resolve on first use: importing the package imports neither torch nor numba.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wholegpt.inference.engine import generate
    from wholegpt.inference.scoring import Score, score
    from wholegpt.model.checkpoint import load
    from wholegpt.tokenizer import Tokenizer

_HOMES = {
    "Tokenizer": "wholegpt.tokenizer",
    "load": "wholegpt.model.checkpoint",
    "generate": "wholegpt.inference.engine",
    "score": "wholegpt.inference.scoring",
    "Score": "wholegpt.inference.scoring",
}
__all__ = ["Score", "Tokenizer", "generate", "load", "score"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module wholegpt has no attribute {name}")
    return getattr(importlib.import_module(_HOMES[name]), name)

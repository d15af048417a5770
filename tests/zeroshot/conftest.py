"""A model that says what a test wants."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from wholegpt.inference.requests import Generated, Generation
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot.task import Row, Sample, Setting, Task

Says = Callable[[Sample, int], str]


class Rigged:
    """Runs a task with made-up texts; `says` gives that of a sample's request, without what comes at a stop string."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.requests: list[Generation] = []

    def setting(self, task: Task, window: int = 4096, **options: Any) -> Setting:
        values = {name: option.default for name, option in task.options.items()}
        return Setting(self.tokenizer, window, {**values, **options})

    def rows(self, task: Task, examples: Sequence[Any], says: Says, setting: Setting | None = None) -> list[Row]:
        setting = setting or self.setting(task)
        made = []
        for sample in task.samples(examples, setting):
            self.requests += sample.requests
            texts = [self._text(request, says(sample, place)) for place, request in enumerate(sample.requests)]
            row = task.row(sample, texts, setting)
            made.append({"doc_id": sample.doc_id, "prompt": sample.prompt, "target": sample.target, **row})
        return made

    def figures(self, task: Task, rows: list[Row], setting: Setting | None = None) -> dict[str, float]:
        found = task.figures(setting or self.setting(task))
        return {name: figure.value(rows) for name, figure in found.items()}

    def _text(self, request: Generation, said: str) -> Generated:
        assert len(request.prompt) + request.max_new_tokens <= 4096
        ends = [place for stop in request.stop if (place := said.find(stop)) >= 0]
        text = said[: min(ends, default=len(said))]
        ids = tuple(self.tokenizer.encode_ordinary(text))
        return Generated(text, ids, (math.log(0.5),) * len(ids))


@pytest.fixture
def rigged(tokenizer: Tokenizer) -> Rigged:
    return Rigged(tokenizer)

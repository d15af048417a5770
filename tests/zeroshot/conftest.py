"""Small test sets written for these tests in the official formats, and a task run on examples without the verb."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from wholegpt.inference.requests import Generated, Generation
from wholegpt.ranks import Team
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot.running import Budget, compute, rows_of
from wholegpt.zeroshot.task import Row, Sample, Setting, Task
from wholegpt.zeroshot.tasks import TASKS

STORY = "".join(f"{number} `` It rose '' , said Ann {number} .\n" for number in range(1, 21))
WIKI = " \n = The river = \n \n The river @-@ side is 1 @,@ 200 m long ( in May ) . \n It <unk> , he said . \n"
XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<collection>
<schema><text><txt1>The miller hit the sack because</txt1><pron>it</pron><txt2>was full.</txt2></text>
<answers><answer>the sack</answer><answer>the miller</answer></answers><correctAnswer>A</correctAnswer></schema>
<schema><text><txt1>The sea is far from the river, and</txt1><pron>it</pron><txt2>runs.</txt2></text>
<answers><answer>The sea</answer><answer>The river</answer></answers><correctAnswer>B.</correctAnswer></schema>
</collection>
"""
TALK = {
    "id": "1", "source": "mctest", "story": "The river rises.",
    "questions": [{"turn_id": 1, "input_text": "What?"}, {"turn_id": 2, "input_text": "So?"}],
    "answers": [{"turn_id": 1, "input_text": "the river"}, {"turn_id": 2, "input_text": "yes"}],
}  # fmt: skip
FILES = {
    "lambada/lambada_test.jsonl": "".join(
        json.dumps({"text": f"{number} sacks, the miller's daughter said, and the river"}) + "\n" for number in range(6)
    ),
    "cbt/cbtest_CN_valid_2000ex.txt": f"{STORY}21 The XXXXX did n't rise .\triver\t\tsea|river|hills\n\n"
    f"{STORY}21 He said the XXXXX ran .\tsea\t\tsea|river|hills\n",
    "wikitext2/wiki.test.tokens": WIKI + WIKI.replace("river", "sea"),
    "ptb/ptb.test.txt": " the river is n't <unk> at $ N \n it 's late \n",
    "lm1b/news.en.heldout-00000-of-00050": "The river rose , \" he said .\nIt 's late .\n",
    "enwik8/enwik8": "<page>où &amp; why</page>\n" * 60,
    "text8/text8": " the river rises in the hills" * 100,
    "wsc273/WSCollection.xml": XML,
    "coqa/coqa-dev-v1.0.json": json.dumps({"data": [TALK, {**TALK, "id": "2"}]}),
    "cnndm/test.jsonl": '{"article": "It\'s late. We go. The sea. Home.", "highlights": "It\'s late .\\nWe go ."}\n'
    * 3,
    "wmt14/newstest2014.en": "It is late.\nThe sea\n",
    "wmt14/newstest2014.fr": "Il est tard.\nLa mer\n",
    "nq_open/NQ-open.dev.jsonl": "".join(f'{{"question": "who {word}", "answer": ["we"]}}\n' for word in "abc"),
}


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """An empty cache."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def nothing_else(home, monkeypatch) -> None:
    """No other cache, no mirror, no network."""
    monkeypatch.setenv("WHOLEGPT_HOME", str(home))
    monkeypatch.delenv("WHOLEGPT_MIRROR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def setting(tokenizer, data_dir):
    """The setting of a task: its defaults, and what is given."""

    def make(name, window=512, **options):
        defaults = {key: option.default for key, option in TASKS[name].options.items()}
        return Setting(tokenizer, window, {**defaults, **options}, data_dir=data_dir)

    return make


@pytest.fixture
def rows(tmp_path):
    """The rows of a task on its data."""

    def run(name, model, setting, teach=lambda _sample: None, examples=None):
        task = TASKS[name]
        samples = task.samples(task.read(setting).examples if examples is None else examples, setting)
        for sample in samples:
            teach(sample)
        journal = tmp_path / f"journal-{len(list(tmp_path.iterdir()))}"
        compute(task, samples, model, setting, journal, Team(torch.device("cpu")), Budget(4096, 4096))
        return list(rows_of(journal))

    return run


def values(name, rows, setting):
    """The figures of rows, without their errors."""
    return {key: figure.value(rows) for key, figure in TASKS[name].figures(setting).items()}


Says = Callable[[Sample, int], str]


class Dictated:
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
def dictated(tokenizer: Tokenizer) -> Dictated:
    return Dictated(tokenizer)

"""Small test sets written for these tests in the official formats, and a task run on examples without the verb."""

import json
from pathlib import Path

import pytest
import torch

from wholegpt.ranks import Team
from wholegpt.zeroshot.running import Budget, compute, rows_of
from wholegpt.zeroshot.task import Setting
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
}


@pytest.fixture(autouse=True)
def nothing_else(tmp_path_factory, monkeypatch) -> None:
    """An empty cache, no mirror, no network."""
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path_factory.mktemp("home")))
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

"""The dict of tasks: groups, options, and the page that explains them."""

import re
from pathlib import Path

import pytest

from wholegpt.errors import UsageError
from wholegpt.sources.table import resolve
from wholegpt.zeroshot.task import fitted
from wholegpt.zeroshot.tasks import GROUPS, TASKS, chosen, settings

PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"


def names(text):
    return {task.name for task in chosen(text)}


def test_groups():
    assert names("lm") == {"wikitext2", "wikitext103", "ptb", "lm1b", "enwik8", "text8"}
    assert names("cloze") == {"lambada", "cbt-cn", "cbt-ne", "winograd"}
    assert names("table3") == names("lm,lambada,cbt-cn,cbt-ne")
    assert names("all") == set(TASKS)
    assert [task.name for task in chosen("winograd,lambada,winograd")] == ["lambada", "winograd"]
    with pytest.raises(UsageError, match="task xyz is unknown; there is lambada, "):
        chosen("xyz")


def test_options_over_shorthands_over_defaults():
    tasks = chosen("ptb,lm1b,winograd")
    found = settings(tasks, ("lm1b.stride=4", "lambada.prefix=newline"), shots=3, stride=8)
    assert set(found) == {"ptb", "lm1b", "winograd"}
    assert (found["ptb"]["stride"], found["lm1b"]["stride"], found["winograd"]) == (8, 4, {})


@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_on_the_page(name):
    page = PAGE.read_text(encoding="utf-8")
    task = TASKS[name]
    assert f"`{name}`" in page
    for option in task.options:
        assert re.search(rf"`(?:{name}\.|cbt-cn\.)?{option}[`=]", page), option
    assert not task.source or resolve(task.source)
    assert set(task.groups) <= set(GROUPS)


def test_what_the_window_does_not_hold_loses_its_beginning():
    assert fitted([1, 2, 3], [4, 5], 4) == ((1, 2, 3), (4, 5), 0)
    assert fitted([1, 2, 3], [4, 5], 3) == ((2, 3), (4, 5), 1)
    assert fitted([1, 2], [3, 4, 5], 2) == ((3,), (4, 5), 2)

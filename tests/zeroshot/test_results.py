"""The lines of the table: the paper's nearest size, others' numbers, and a verdict for released weights only."""

import math
import re

import pytest

from wholegpt import paper
from wholegpt.zeroshot import results
from wholegpt.zeroshot.results import Model, content, number
from wholegpt.zeroshot.table import text
from wholegpt.zeroshot.task import Data
from wholegpt.zeroshot.tasks import TASKS

SMALL = Model("gpt2", 124_439_808, "gpt2")


def lambada_rows(right, nats=3.690378):
    """10,000 rows, of which so many have the word; e to the nats is 40.06."""
    made = []
    for index in range(10_000):
        truth = index < right
        made.append(dict.fromkeys(("word", "filter", "filter-every", "filter-marks", "last-token"), truth))
        made[-1] |= {"nats": nats, "last_nats": nats}
    return made


def made(setting, model=SMALL, label="", total=10_000, rows=None, **options):
    given = setting("lambada", 1024, **options)
    data = Data(range(10_000), label=label)
    rows = rows or lambada_rows(3_256)
    return content(TASKS["lambada"], data, total, rows, given, model, "key")


def lines(setting, **arguments):
    return {line["figure"]: line for line in made(setting, **arguments)["table"]}


def test_beside_the_paper_and_others(setting):
    found = lines(setting)
    assert (found["acc,filter"]["paper"], found["acc,filter"]["size"]) == (45.99, "117M")
    assert (found["acc,word"]["paper"], found["acc,word"]["size"]) == (52.66, "1542M")  # only the largest has one
    assert (found["acc,word"]["others"], found["acc,word"]["ours"]) == (32.56, pytest.approx(32.56))
    assert found["acc,word"]["error"] == pytest.approx(100 * math.sqrt(0.3256 * 0.6744 / 9_999))
    assert found["perplexity,word"]["paper"] == 35.13


def test_verdicts(setting):
    found = lines(setting)
    assert found["acc,word"]["verdict"] == "as others get"
    assert found["acc,filter"]["verdict"] == "not as in the paper"
    assert found["perplexity,word"]["verdict"] == "as others get, not as in the paper"
    assert lines(setting, rows=lambada_rows(3_320))["acc,word"]["verdict"] == "NOT as others get"
    assert lines(setting, rows=lambada_rows(4_600))["acc,filter"]["verdict"] == "as in the paper"
    assert lines(setting, prefix="newline")["acc,word"]["verdict"] == ""  # another protocol than theirs
    ours = lines(setting, model=Model("run", 3_000_000))
    assert {line["verdict"] for line in ours.values()} == {""}
    assert ours["acc,filter"]["size"] == "117M"


@pytest.mark.parametrize(("parameters", "index"), [(1, 0), (3e8, 1), (6e8, 2), (1.5e9, 3), (1e12, 3)])
def test_the_nearest_size(parameters, index):
    assert Model("", int(parameters)).nearest == index


@pytest.mark.parametrize("change", [{"label": "not the paper's data (n = 10)"}, {"total": 10_001}])
def test_what_is_not_the_whole_set_of_the_paper_stands_beside_nothing(setting, change):
    for line in lines(setting, **change).values():
        assert (line["paper"], line["others"], line["verdict"]) == (None, None, "")
        assert line["notes"][0] in ("not the paper's data (n = 10)", "the first 10,000 of 10,001 examples")


def test_an_infinite_perplexity_is_a_string(setting):
    found = made(setting, rows=lambada_rows(1, nats=1e6))
    assert found["results"]["lambada"]["perplexity,word"] == "infinite: more than a float holds"
    assert "infinite" in text([found], {})


def test_reproductions_name_figures_and_options_that_exist():
    for one in paper.REPRODUCTIONS:
        if one.task in TASKS:
            task = TASKS[one.task]
            assert {name for name, _ in one.options} <= set(task.options)
            assert one.size in {size.name for size in paper.SIZES}


def test_the_table(setting):
    printed = text([made(setting)], {"cbt-cn": "wholegpt data fetch cbt-cn"})
    assert re.search(r"^  acc word +52\.66 \(1542M\) +32\.56 +32\.56 ± 0\.47 +-20\.10$", printed, re.MULTILINE)
    assert max(map(len, printed.splitlines())) <= 80
    assert "    acc,word: as others get\n" in printed
    assert "others: 32.56 by EleutherAI/lm-evaluation-harness#2159" in printed
    assert printed.splitlines()[-1] == "cbt-cn: no data here; wholegpt data fetch cbt-cn"
    assert [number(value) for value in (0.05, 12.345, 1e7, None)] == ["0.05", "12.35", "1e+07", ""]
    assert results.TOLERANCE_POINTS == 0.5

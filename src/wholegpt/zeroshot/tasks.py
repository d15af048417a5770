"""Every task by name, and the groups that `--tasks` knows."""

import difflib

from wholegpt.errors import UsageError
from wholegpt.zeroshot import (
    cloze,
    coqa,
    heldout,
    lambada,
    language,
    natural_questions,
    summaries,
    translation,
    winograd,
)
from wholegpt.zeroshot.task import Choice, Option, Task

TASKS = {
    task.name: task
    for task in (
        *lambada.TASKS,
        *cloze.TASKS,
        *language.TASKS,
        *winograd.TASKS,
        coqa.TASK,
        summaries.TASK,
        *translation.TASKS,
        natural_questions.TASK,
        *heldout.TASKS,
    )
}
# What a run on its own corpus gives is no test set of the paper's, so `all` has it only where there is such a corpus.
GROUPS = ("lm", "cloze", "generation", "table3", "all")


def chosen(names: str) -> list[Task]:
    """The tasks of a list of names and groups, each once, in the order of TASKS; UsageError for an unknown name."""
    wanted = set()
    for name in names.split(","):
        if name in GROUPS:
            wanted |= {task.name for task in TASKS.values() if name == "all" or name in task.groups}
        elif name in TASKS:
            wanted.add(name)
        else:
            raise UsageError(f"task {name} is unknown{nearest(name, [*TASKS, *GROUPS])}")
    return [task for name, task in TASKS.items() if name in wanted]


def settings(
    tasks: list[Task], assignments: tuple[str, ...], shots: int | None, stride: int
) -> dict[str, dict[str, Choice]]:
    """The options of each task: its defaults, --num-fewshot and --stride where it has them, then TASK.OPTION=VALUE."""
    found = {task.name: {name: option.default for name, option in task.options.items()} for task in tasks}
    for task in tasks:
        if shots is not None and task.shots:
            found[task.name][task.shots] = shots
        if stride and "stride" in task.options:
            found[task.name]["stride"] = stride
    for assignment in assignments:
        place, _, text = assignment.partition("=")
        name, _, option = place.partition(".")
        if name not in TASKS or option not in TASKS[name].options:
            known = [f"{task.name}.{option}" for task in TASKS.values() for option in task.options]
            raise UsageError(f"--set {assignment}: there is no option {place}{nearest(place, known)}")
        made = value(text, TASKS[name].options[option], assignment)
        if name in found:
            found[name][option] = made
    return found


def value(text: str, option: Option, assignment: str) -> Choice:
    """What an assignment says, in the type of the option's default; UsageError if it cannot be that."""
    try:
        made = type(option.default)(text)
    except ValueError:
        made = None
    negative = isinstance(made, int | float) and made < 0
    if made is None or negative or (option.choices and made not in option.choices):
        expected = " or ".join(map(str, option.choices)) or f"a value like {option.default}"
        raise UsageError(f"--set {assignment}: expected {expected}")
    return made


def nearest(name: str, known: list[str]) -> str:
    """The known name that was meant, in words; all of them if none is near."""
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else f"; there is {', '.join(known)}"

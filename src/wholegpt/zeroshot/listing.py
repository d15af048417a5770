"""`wholegpt evaluate --list` and `--show-prompt`: what there is, and what a model is given."""

import json
from pathlib import Path
from typing import Any

from wholegpt.errors import WholeGPTError
from wholegpt.inference.requests import Generation
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot.task import Setting, Task
from wholegpt.zeroshot.tasks import TASKS

# No set needs a tokenizer to be read.
BYTES = Tokenizer([bytes([number]) for number in range(256)], [], {})


def show(data_dir: Path | None, as_json: bool) -> None:
    """Print every task: version, groups, data, options with their defaults."""
    entries = [_entry(task, data_dir) for task in TASKS.values()]
    if as_json:
        print(json.dumps(entries, ensure_ascii=False, indent=2))
        return
    for entry in entries:
        print(f"{entry['task']:<18} version {entry['version']}, {', '.join(entry['groups'])}: {entry['data']}")
        for name, option in entry["options"].items():
            choices = f" ({', '.join(map(str, option['choices']))})" if option["choices"] else ""
            print(f"    {name}={option['default']}  {option['text']}{choices}")


def _entry(task: Task, data_dir: Path | None) -> dict[str, Any]:
    options = {
        name: {"default": option.default, "choices": option.choices, "text": option.text}
        for name, option in task.options.items()
    }
    return {
        "task": task.name,
        "version": task.version,
        "protocol": task.protocol,
        "groups": [*task.groups, "all"],
        "data": _data(task, data_dir),
        "options": options,
    }


def _data(task: Task, data_dir: Path | None) -> str:
    if not task.source:
        return "a run's own shards"
    defaults = {name: option.default for name, option in task.options.items()}
    try:
        found = task.read(Setting(BYTES, 0, defaults, data_dir=data_dir))
    except WholeGPTError:
        return f"wholegpt data fetch {task.source}"
    return found.label or "here"


def show_prompt(task: Task, setting: Setting) -> None:
    """Print what the model is given for the first example, and what it is asked."""
    sample = next(iter(task.samples(task.read(setting).examples[:1], setting)))
    if not sample.requests:
        raise WholeGPTError(f"the first example of {task.name} makes no prompt: {sample.notes['impossible']}")
    texts = [request for request in sample.requests if isinstance(request, Generation)]
    if not texts:
        print(sample.prompt or setting.tokenizer.decode(sample.requests[0].ids))
    for request in texts:
        stop = f", until {' or '.join(map(repr, request.stop))}" if request.stop else ""
        print(setting.tokenizer.decode(request.prompt))
        print(f"--- {request.max_new_tokens} tokens, temperature {request.temperature}, top-k {request.top_k}{stop}")
    print(f"--- target: {sample.target!r}")

"""`wholegpt evaluate`: the tests of section 3, as files from which every number can be checked by hand.

results/
├── TASK.json             figures with errors, options, versions, the lines of the table
├── samples_TASK.jsonl    a line a sample: prompt, target, prediction, log-probabilities
└── state/                only while unfinished: what is finished of each task
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from wholegpt import ranks, sources
from wholegpt.artifact import STATE, Artifact, fingerprint, read_json, whole_file, write_bytes, write_json
from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT, parameter_count
from wholegpt.paper import SIZES
from wholegpt.progress import say
from wholegpt.ranks import Team
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot import heldout, listing, results, table
from wholegpt.zeroshot.running import Budget, compute, rows_of
from wholegpt.zeroshot.task import Data, Row, Setting, Task
from wholegpt.zeroshot.tasks import TASKS, chosen, settings

# A rank may be at a run of requests for so long before the others ask whether it lives.
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a model without training it for the task (section 3); see docs/protocols.md."""

    model: tyro.conf.Positional[str] = ""
    """A run, a checkpoint of any format, or released weights: gpt2, gpt2-medium, gpt2-large, gpt2-xl."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    """For the results; an interrupted evaluation in it goes on."""
    tasks: str = "heldout"
    """Names and groups, with commas: all, lm, cloze, generation, table3."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Your own copy of test sets; see docs/evaluation-data.md."""
    limit: int = 0
    """Examples of each set; 0: all."""
    num_fewshot: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Example pairs, where a task has some."""
    stride: int = 0
    """Of windows in lm tasks [tokens]; 0: disjoint."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK.OPTION=VALUE"), tyro.conf.UseAppendAction] = ()
    """Choose what the paper leaves open."""
    seed: int = 0
    """Decides samples that are drawn, and bootstrapped errors."""
    batch_tokens: int = 0
    """Tokens that the model holds at once; 0: by the free memory."""
    log_samples: bool = True
    """Write a line for each sample."""
    shards: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The run's shards, if they are not where they were."""
    tokenizer: str = ""
    """A directory with one, where the checkpoint has none."""
    device: str = "auto"
    """cpu, cuda, ..."""
    dtype: str = "float32"
    """float32, bfloat16, float16, auto."""
    json: bool = False
    """Print JSON instead of the table."""
    list: bool = False
    """Show tasks, options, and whether data is here."""
    show_prompt: Annotated[str, tyro.conf.arg(metavar="TASK")] = ""
    """Print what the model is given for the first example."""
    overwrite: bool = False
    """Replace results; a task that would come out the same is kept."""

    def __post_init__(self) -> None:
        settings(chosen(self.tasks), self.set, self.num_fewshot, self.stride)
        if self.show_prompt and self.show_prompt not in TASKS:
            chosen(self.show_prompt)
        if min(self.limit, self.stride, self.batch_tokens, self.num_fewshot or 0) < 0:
            raise UsageError("--limit, --stride, --batch-tokens and --num-fewshot must not be negative")
        if not self.list and not self.model:
            raise UsageError("evaluate needs a model (or --list)")
        if not (self.list or self.show_prompt or self.output):
            raise UsageError("evaluate needs --output")


# They say how the same result is reached, or shown.
INCIDENTAL = ("batch_tokens", "json", "list", "show_prompt")


def evaluate(options: EvaluateOptions) -> Artifact | None:
    """Write `TASK.json` for each task, and print the table.

    Killed at any moment, the same command goes on where it was; a set that has become available since is added.
    """
    if options.list:
        listing.show(options.data_dir, options.json)
        return None
    if options.show_prompt:
        model, tokenizer = _load(options, options.device)
        (task,) = chosen(options.show_prompt)
        listing.show_prompt(task, _setting(options, task, model, tokenizer))
        return None
    try:
        with ranks.join(options.device, PATIENCE_SECONDS) as team:
            return _evaluate(options, chosen(options.tasks), team)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command goes on where it was") from None


def _evaluate(options: EvaluateOptions, tasks: Sequence[Task], team: Team) -> Artifact:
    assert options.output
    artifact = Artifact(
        options.output, "evaluate", options, _inputs(options, tasks), options.overwrite, incidental=INCIDENTAL
    )
    done = team.share(artifact.counts if team.main and artifact.exists() else None)
    if done and not done["missing"]:
        return _shown(options, artifact, team)
    model, tokenizer = _load(options, str(team.device))
    ready, missing = _read(options, tasks, model, tokenizer)
    if done and not any(task.name in done["missing"] for task, _, _ in ready):
        return _shown(options, artifact, team)
    if not ready:
        raise WholeGPTError(f"none of the tasks has its data: {'; '.join(dict.fromkeys(missing.values()))}")
    with artifact.write(resume=True) if team.main else nullcontext() as made:
        folder = team.share(made) or artifact.partial
        batches = folder / STATE / "batches.json"
        limits = team.share(Budget.kept(batches, model, options.batch_tokens) if team.main else Budget(0, 0))
        artifact.counts = {}
        for task, setting, data in ready:
            _run(task, setting, data, options, model, artifact, folder, team, limits)
        for name in [name for name in missing if name in (done or {})]:  # its data was here when it was evaluated
            _copy(name, artifact.path, folder)
            artifact.counts[name] = (done or {})[name]
            del missing[name]
        artifact.counts["missing"] = missing
    return _shown(options, artifact, team)


def _load(options: EvaluateOptions, device: str) -> tuple[GPT, Tokenizer]:
    return checkpoint.load_with_tokenizer(options.model, device, options.dtype, options.tokenizer)


def _setting(options: EvaluateOptions, task: Task, model: GPT, tokenizer: Tokenizer) -> Setting:
    values = settings([task], options.set, options.num_fewshot, options.stride)[task.name]
    path = checkpoint.find(options.model)
    return Setting(tokenizer, model.config.n_ctx, values, options.seed, options.data_dir, path, options.shards)


def _inputs(options: EvaluateOptions, tasks: Sequence[Task]) -> list[Path]:
    """The model, and the shards if a task reads them; a task that misses them says so later."""
    model = checkpoint.find(options.model)
    if all(task.source for task in tasks):
        return [model]
    try:
        return [model, options.shards or heldout.shards_of(model)]
    except WholeGPTError:
        return [model]


def _read(
    options: EvaluateOptions, tasks: Sequence[Task], model: GPT, tokenizer: Tokenizer
) -> tuple[list[tuple[Task, Setting, Data]], dict[str, str]]:
    """The data of each task, and of those that have none how to get it."""
    ready, missing = [], {}
    for task in tasks:
        setting = _setting(options, task, model, tokenizer)
        try:
            ready.append((task, setting, task.read(setting)))
        except WholeGPTError as error:
            if options.data_dir:  # the fault may lie in the user's own files
                say(f"{task.name}: {error}")
            missing[task.name] = f"wholegpt data fetch {task.source}, or --data-dir" if task.source else str(error)
    return ready, missing


def _run(
    task: Task,
    setting: Setting,
    data: Data,
    options: EvaluateOptions,
    model: GPT,
    artifact: Artifact,
    folder: Path,
    team: Team,
    limits: Budget,
) -> None:
    """The files of one task, unless they are there; and its numbers among the artifact's counts."""
    key = _key(task, setting, data, options, artifact)
    if not team.share(team.main and _kept(task.name, key, options, artifact.path, folder)):
        total = len(data.examples)
        data = replace(data, examples=data.examples[: options.limit or total])
        journal = folder / STATE / task.name / key
        compute(task, task.samples(data.examples, setting), model, setting, journal, team, limits)
        if team.main:
            rows = _write_samples(folder / _samples(task.name), journal, options.log_samples)
            content = results.content(task, data, total, rows, setting, _model(options, model), key)
            write_json(folder / f"{task.name}.json", content)
    if team.main:
        artifact.counts[task.name] = read_json(folder / f"{task.name}.json")["results"][task.name]


def _key(task: Task, setting: Setting, data: Data, options: EvaluateOptions, artifact: Artifact) -> str:
    """What decides the numbers of a task."""
    inputs = [fingerprint(path) for path in data.paths]
    model = artifact.inputs[str(checkpoint.find(options.model))]
    chosen = [dict(setting.options), setting.window, setting.seed, options.limit, options.dtype, options.tokenizer]
    whole = json.dumps([task.name, task.version, chosen, inputs, model], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _kept(name: str, key: str, options: EvaluateOptions, old: Path, folder: Path) -> bool:
    """Whether the folder, or else the artifact that it will replace, has this very result; it is then in the folder."""
    for place in (folder, old):
        samples = (place / _samples(name)).is_file() or not options.log_samples
        result = place / f"{name}.json"
        if samples and result.is_file() and read_json(result)["configs"][name]["fingerprint"] == key:
            if place != folder:
                _copy(name, place, folder)
            return True
    return False


def _samples(name: str) -> str:
    return f"samples_{name}.jsonl"


def _copy(name: str, old: Path, folder: Path) -> None:
    """The files of a task from one folder to another, the result last."""
    for file in (_samples(name), f"{name}.json"):
        if (old / file).is_file():
            write_bytes(folder / file, (old / file).read_bytes())


def _write_samples(path: Path, journal: Path, log_samples: bool) -> list[Row]:
    """The rows without their log-probabilities; with them they are written to the file, if at all."""
    rows = []
    with (
        whole_file(path) if log_samples else nullcontext(Path(os.devnull)) as temporary,
        temporary.open("wb") as stream,
    ):
        for row in rows_of(journal):
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            rows.append({name: value for name, value in row.items() if name != "logprobs"})
    return rows


def _model(options: EvaluateOptions, model: GPT) -> results.Model:
    source = sources.source_of(checkpoint.find(options.model))
    released = next((size.name for size in SIZES if sources.SOURCES[size.name] is source), "")
    return results.Model(str(options.model), parameter_count(model), released)


def _shown(options: EvaluateOptions, artifact: Artifact, team: Team) -> Artifact:
    """The artifact, whose results are printed."""
    if team.main:
        missing = artifact.counts["missing"]
        contents = [read_json(artifact.path / f"{name}.json") for name in artifact.counts if name != "missing"]
        if options.json:
            print(json.dumps({"results": contents, "missing": missing}, ensure_ascii=False))
        else:
            print(table.text(contents, missing))
    return artifact

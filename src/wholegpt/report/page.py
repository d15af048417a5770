"""`wholegpt report`: what artifacts say of themselves, beside the paper's tables, on one self-contained page."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from wholegpt import __version__, paper
from wholegpt.artifact import MANIFEST, Artifact, read_json, read_manifest, write_bytes
from wholegpt.errors import WholeGPTError, missing_extra
from wholegpt.progress import duration, say
from wholegpt.report import figures

STAGES = {
    "corpus build": "Documents",
    "tokenizer train": "Tokenizer",
    "shards": "Token shards",
    "train": "Training",
    "evaluate": "Evaluation",
    "generate": "Samples",
}


@dataclass(frozen=True)
class ReportOptions:
    """Put results beside the paper's tables on one page."""

    artifacts: tyro.conf.Positional[tuple[Path, ...]]
    """Directories that wholegpt wrote: corpus, tokenizer, shards, run, results, samples."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory for index.html."""
    overwrite: bool = False
    """Replace a report made from other results."""


def report(options: ReportOptions) -> Artifact:
    """Write `index.html`; sections whose artifact was not given are left out."""
    artifact = Artifact(options.output, "report", options, options.artifacts, options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    manifests = {}
    folders = {}
    for path in options.artifacts:
        manifest = read_manifest(path)
        manifests[manifest["verb"]], folders[manifest["verb"]] = manifest, path
    unknown = manifests.keys() - STAGES.keys()
    if unknown:
        raise WholeGPTError(f"a report cannot show what `{unknown.pop()}` wrote; it knows {', '.join(STAGES)}")
    page = _render(manifests, folders)
    with artifact.write() as folder:
        write_bytes(folder / "index.html", page.encode())
    return artifact


def _render(manifests: dict[str, Any], folders: dict[str, Path]) -> str:
    try:
        import jinja2
    except ModuleNotFoundError:
        raise missing_extra("jinja2", "report") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["duration"] = duration
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment.get_template("page.html").render(
        counts={verb: manifests[verb]["counts"] if verb in manifests else None for verb in STAGES},
        options={verb: manifest["options"] for verb, manifest in manifests.items()},
        stages=_stages(manifests),
        curve=_curve(folders["train"]) if "train" in folders else "",
        heldout=_heldout(folders["evaluate"]) if "evaluate" in folders else None,
        measured=_measured(folders["evaluate"]) if "evaluate" in folders else {},
        samples=read_json(folders["generate"] / "samples.json") if "generate" in folders else [],
        paper=paper,
        version=__version__,
        machine=f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    )


def _stages(manifests: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """What was done, in order, with the time it took and the hash of what came out."""
    rows = []
    for verb, title in STAGES.items():
        if verb in manifests:
            manifest = manifests[verb]
            seconds = manifest["counts"].get("seconds", manifest["seconds"])
            rows.append({"title": title, "verb": verb, "seconds": seconds, "outputs": manifest["outputs"]})
    return rows


def _curve(run: Path) -> str:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    points = [(line["step"], line["bits_per_byte"]) for line in lines if "bits_per_byte" in line]
    marks = [(line["step"], line["held_out_bits_per_byte"]) for line in lines if "held_out_bits_per_byte" in line]
    return figures.curve(points, marks, "step", "bits per byte")


def _measured(results: Path) -> dict[str, float]:
    """By the paper's rows, what was measured on the paper's data."""
    found = {}
    for path in sorted(results.glob("*.json")):
        content = read_json(path)
        for line in content.get("table", []) if path.name != MANIFEST and not content["labels"] else []:
            if isinstance(line["ours"], float):
                found[line["row"]] = line["ours"]
    return found


def _heldout(results: Path) -> dict[str, Any] | None:
    """The figures of the task `heldout` and its baselines, largest first."""
    path = results / "heldout.json"
    if not path.is_file():
        return None
    content = read_json(path)
    scores = {
        name.removesuffix(",none"): value
        for name, value in content["results"]["heldout"].items()
        if isinstance(value, float) and "_stderr" not in name
    }
    compared = {**content["baselines"], "this model": scores["bits_per_byte"]}
    ordered = dict(sorted(compared.items(), key=lambda item: -item[1]))
    return {
        "scores": scores,
        "size": {name: content[name] for name in ("documents", "tokens", "words", "bytes")},
        "compared": ordered,
        "bars": figures.bars(ordered, "this model", "bits per byte (less is better)"),
    }

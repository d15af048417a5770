"""`wholegpt info`: what a path holds, be it a model, a tokenizer, token shards, a corpus or results."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from wholegpt import artifact, documents, sources
from wholegpt.errors import WholeGPTError
from wholegpt.paper import SIZES
from wholegpt.tokenizer import Tokenizer, files


@dataclass(frozen=True)
class InfoOptions:
    """Show what a path holds: format, sizes, origin, hashes."""

    path: tyro.conf.Positional[Path]
    """A model in any format, a tokenizer, shards, a corpus, results; or released weights: gpt2, ..., gpt2-xl."""
    json: bool = False
    """Print JSON."""


def info(options: InfoOptions) -> None:
    """Print the facts; WholeGPTError where nothing at the path is known."""
    from wholegpt.model import checkpoint

    facts = describe(checkpoint.find(options.path))
    if options.json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    table = Table(show_header=False)
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), _readable(value))
    Console().print(table)


def describe(path: Path) -> dict[str, Any]:
    """The facts about what a path holds, and about its origin where they are known."""
    for kind in (_model, _shards, _tokenizer, _results, _documents):
        if facts := kind(path):
            return {"path": str(path), **facts, **_origin(path), "sha256": _hashes(path)}
    raise WholeGPTError(f"{path} holds neither a model, nor a tokenizer, shards, documents or results")


def _model(path: Path) -> dict[str, Any]:
    """Sizes from the checkpoint, which is read whole: what is broken is not described."""
    from wholegpt.model.convert import formats

    if not formats.holds(path):
        return {}
    contents = formats.read(path)
    config = contents.config
    parameters = sum(tensor.numel() for tensor in contents.tensors.values())
    shape = (config.n_layer, config.n_embd, config.n_head)
    name = next((size.name for size in SIZES if shape == (size.n_layer, size.n_embd, size.n_head)), None)
    dtypes = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in contents.tensors.values())
    tokenizer = contents.tokenizer is not None or files.lie_in(path if path.is_dir() else path.parent)
    return {
        "kind": "model",
        "format": formats.recognise(path),
        "size": name,
        "parameters": parameters,
        "n_layer": config.n_layer,
        "n_embd": config.n_embd,
        "n_head": config.n_head,
        "context_tokens": config.n_ctx,
        "vocabulary": config.vocab_size,
        "activation": config.activation,
        "dtype": " and ".join(dtypes),
        "tokenizer": "beside it" if tokenizer else "none beside it",
        **contents.details,
    }


def _tokenizer(path: Path) -> dict[str, Any]:
    if not files.lie_in(path if path.is_dir() else path.parent):
        return {}
    found = Tokenizer.load(path)
    return {
        "kind": "tokenizer",
        "format": " + ".join(file.name for file in files.find(path)),
        "vocabulary": found.vocab_size,
        "merges": len(found.merges),
        "special_tokens": found.special,
        "pattern": found.pattern,
    }


def _shards(path: Path) -> dict[str, Any]:
    from wholegpt.training import shard_files

    found = sorted(path.glob("*.bin")) if path.is_dir() else [path]
    layouts = {file.name: layout for file in found if (layout := shard_files.layout(file))}
    if not layouts:
        return {}
    return {
        "kind": "token shards",
        "format": " and ".join(dict.fromkeys(layout.format for layout in layouts.values())),
        "dtype": " and ".join(dict.fromkeys(layout.dtype.name for layout in layouts.values())),
        "tokens": {name: layout.tokens for name, layout in layouts.items()},
    }


def _documents(path: Path) -> dict[str, Any]:
    try:
        found = documents.files(path)
    except WholeGPTError:
        return {}
    counts = dict.fromkeys(("documents", "bytes", "words"), 0)
    for document in documents.read(path):
        counts["documents"] += 1
        counts["bytes"] += len(document.text.encode())
        counts["words"] += len(document.text.split())
    return {"kind": "documents", "files": [file.name for file in found], **counts}


def _results(path: Path) -> dict[str, Any]:
    found = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.suffix == ".json" else []
    contents = {file: artifact.read_json(file) for file in found}
    results = [
        content["results"] for content in contents.values() if isinstance(content, dict) and "results" in content
    ]
    return (
        {"kind": "results", "results": {task: of for result in results for task, of in result.items()}}
        if results
        else {}
    )


def _origin(path: Path) -> dict[str, Any]:
    """Who wrote it: a verb of ours, by its manifest, or a known source."""
    if (path / artifact.MANIFEST).is_file():
        manifest = artifact.read_manifest(path)
        counts = {"steps": manifest["counts"]["steps"]} if "steps" in manifest["counts"] else {}
        origin = {"from": f"wholegpt {manifest['verb']}", "inputs": list(manifest["inputs"])}
        return {**origin, "finished": manifest["finished"], **counts}
    source = sources.source_of(path)
    return {"from": source.what, "licence": source.licence} if source else {}


def _hashes(path: Path) -> dict[str, str]:
    if (path / artifact.MANIFEST).is_file():
        return {name: output["sha256"] for name, output in artifact.read_manifest(path)["outputs"].items()}
    found = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return {file.name: artifact.sha256(file) for file in found}


def _readable(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | list | dict):
        return "" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "\n".join(f"{key}: {_readable(item)}" for key, item in value.items())

"""The command line: one table from verb to function; the flags of a verb are the fields of its options."""

import dataclasses
import difflib
import errno
import importlib
import os
import sys
import tomllib
import traceback
from pathlib import Path
from typing import Any

from wholegpt import __version__
from wholegpt.errors import Interrupted, UsageError, WholeGPTError, missing_extra

# Verb: module, options, function, what it does. A verb's module is imported when the verb is called.
VERBS = {
    "demo": ("wholegpt.demo", "DemoOptions", "demo", "the whole path on two cores: text to a trained, evaluated model"),
    "corpus links": ("wholegpt.corpus.links", "LinksOptions", "build", "§2.1  dumps of submissions to links"),
    "corpus fetch": ("wholegpt.corpus.fetch", "FetchOptions", "fetch", "§2.1  links to pages, politely"),
    "corpus build": ("wholegpt.corpus.build", "BuildOptions", "build", "§2.1  pages and text to documents"),
    "corpus stats": ("wholegpt.corpus.stats", "StatsOptions", "stats", "§2.1  what a corpus is made of"),
    "tokenizer train": ("wholegpt.tokenizer.train", "TokenizerTrainOptions", "train", "§2.2  learn a byte-level BPE"),
    "tokenizer encode": ("wholegpt.tokenizer.train", "EncodeOptions", "encode", "§2.2  text to ids"),
    "tokenizer decode": ("wholegpt.tokenizer.train", "DecodeOptions", "decode", "§2.2  ids to text"),
    "tokenizer compare": (
        "wholegpt.tokenizer.compare",
        "CompareOptions",
        "compare",
        "§2.2  how vocabularies fit a text",
    ),
    "shards": ("wholegpt.training.shards", "ShardsOptions", "build", "§2    documents to token files"),
    "train": ("wholegpt.training.loop", "TrainOptions", "begin", "§2.3  token files to a model"),
    "evaluate": ("wholegpt.zeroshot.evaluate", "EvaluateOptions", "evaluate", "§3    tasks, with files to check"),
    "score": ("wholegpt.zeroshot.score", "ScoreOptions", "score", "§3.1  perplexity and bits per byte of any text"),
    "generate": ("wholegpt.inference.generate", "GenerateOptions", "generate", "§8    continue prompts"),
    "data list": ("wholegpt.sources.verbs", "ListOptions", "show", "released files: what there is, what is here"),
    "data fetch": ("wholegpt.sources.verbs", "FetchOptions", "fetch", "download them, or go on where it broke off"),
    "data verify": ("wholegpt.sources.verbs", "VerifyOptions", "verify", "compare the files here with their hashes"),
    "convert": ("wholegpt.model.exchange", "ConvertOptions", "convert", "§2.3  a checkpoint into another format"),
    "info": ("wholegpt.info", "InfoOptions", "info", "what a path holds"),
    "report": ("wholegpt.report.page", "ReportOptions", "report", "the paper's tables and yours on one page"),
}

RECIPES = Path(__file__).parent / "recipes"


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        return _dispatch(arguments)
    except (Interrupted, KeyboardInterrupt) as error:
        print(str(error) or "interrupted; the same command starts this stage again", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (WholeGPTError, OSError, ValueError) as error:
        if debug:
            traceback.print_exc()
        print(f"wholegpt: {_sentence(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"wholegpt {__version__}")
        return 0
    verb, rest = _verb(arguments)
    module_name, options_name, function_name, _ = VERBS[verb]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:  # the packages of an extra that is named as the group of verbs
        raise missing_extra(str(error.name), verb.split()[0]) from None
    options = parse(getattr(module, options_name), verb, rest)
    getattr(module, function_name)(options)
    return 0


def _verb(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb at the beginning, of one word or two, and the arguments after it."""
    for words in (2, 1):
        verb = " ".join(arguments[:words])
        if verb in VERBS:
            return verb, arguments[words:]
    group = [verb for verb in VERBS if verb.startswith(arguments[0] + " ")]
    if group:
        raise UsageError(f"`{arguments[0]}` needs one of: {', '.join(group)}")
    raise UsageError(f"{arguments[0]} is no verb{_nearest(arguments[0], VERBS)}; see wholegpt --help")


def parse(kind: type[Any], verb: str, arguments: list[str]) -> Any:
    """Options from flags over the recipe over the defaults; UsageError for a name that does not exist."""
    import tyro

    fields = {field.name: field for field in dataclasses.fields(kind)}
    defaults: Any = tyro.MISSING
    if verb == "train" and (recipe := _recipe(arguments)):
        values = _read_recipe(recipe, fields)
        missing = {name: tyro.MISSING for name, field in fields.items() if field.default is dataclasses.MISSING}
        defaults = _without_checks(kind, {**missing, **values, "recipe": recipe})
    extra = {} if defaults is tyro.MISSING else {"default": defaults}
    options, unknown = tyro.cli(
        kind,
        prog=f"wholegpt {verb}",
        args=arguments,
        return_unknown_args=True,
        compact_help=len(_flags(kind)) > 20,
        config=(tyro.conf.FlagCreatePairsOff,),
        **extra,
    )
    if unknown:
        raise UsageError(f"wholegpt {verb} has no option {unknown[0]}{_nearest(unknown[0], _flags(kind))}")
    return options


def _flags(kind: type[Any]) -> list[str]:
    """The flags of options, and of options within them."""
    found: list[str] = []
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default_factory):
            found += _flags(field.default_factory)
        else:
            found.append("--" + field.name.replace("_", "-"))
    return found


def _recipe(arguments: list[str]) -> str:
    for index, argument in enumerate(arguments):
        if argument == "--recipe" and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith("--recipe="):
            return argument.removeprefix("--recipe=")
    return ""


def _read_recipe(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    shipped = RECIPES / f"{name}.toml"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise UsageError(f"recipe {name} is neither a file nor one that comes with wholegpt ({known})")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not TOML: {error}") from None
    for key, value in values.items():
        if key not in fields or key in ("recipe", "output"):
            raise UsageError(f"recipe {path} has an unknown key {key}{_nearest(key, fields)}")
        expected = type(fields[key].default)
        if expected is tuple and isinstance(value, list):
            values[key] = value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
        if not isinstance(value, expected) and not (expected is float and isinstance(value, int)):
            raise UsageError(f"recipe {path}: {key} is {value!r}, expected {expected.__name__}")
    return values


def _without_checks(kind: type[Any], values: dict[str, Any]) -> Any:
    """An instance whose required fields are still missing, for the parser to fill in."""
    instance = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(instance, field.name, values.get(field.name, field.default))
    return instance


def _nearest(name: str, known: Any) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space is left on the disk; free some and run the same command again"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _help() -> str:
    rows = "\n".join(f"  {verb:<18}{text}" for verb, (*_, text) in VERBS.items())
    return (
        f"wholegpt {__version__}: the whole of the GPT-2 paper as working software\n\n"
        f"usage: wholegpt VERB [options]     (wholegpt VERB --help says more)\n\n{rows}\n\n"
        "  --version, --help, --debug (tracebacks)"
    )

"""Which format a path holds, and its contents: the one place that knows all formats."""

from pathlib import Path
from types import ModuleType

from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import gguf, huggingface, llmc, nanogpt, openai
from wholegpt.model.convert.contents import Contents

# Each has recognises(path) and read(path); the first that recognises a path reads it.
FORMATS: dict[str, ModuleType] = {
    "Hugging Face": huggingface,
    "OpenAI": openai,
    "llm.c": llmc,
    "nanoGPT": nanogpt,
    "GGUF": gguf,
}
# Formats of one file, by what `convert --to` calls them: its name in a directory.
IN_DIRECTORIES = {"nanogpt": "ckpt.pt", "gguf": "model.gguf", "llmc": "model.bin"}


def holds(path: Path) -> bool:
    """Whether a path holds a model of a known format."""
    return any(module.recognises(_file(path)) for module in FORMATS.values())


def recognise(path: Path) -> str:
    """The name of the format in FORMATS; WholeGPTError where a path holds no model."""
    for name, module in FORMATS.items():
        if module.recognises(_file(path)):
            return name
    expected = "a Hugging Face or OpenAI directory, or a file .safetensors, .bin (PyTorch, llm.c), .pt (nanoGPT), .gguf"
    raise WholeGPTError(f"{path} holds no model; expected {expected}")


def read(path: Path) -> Contents:
    """The model in a file or directory of any format; WholeGPTError that names the file and the fault."""
    contents: Contents = FORMATS[recognise(path)].read(_file(path))
    return contents


def _file(path: Path) -> Path:
    """The file that is meant by a directory of nanoGPT, llm.c or GGUF: the one that `convert` writes there."""
    found = [path / name for name in IN_DIRECTORIES.values() if (path / name).is_file()]
    return found[0] if found and not (path / huggingface.CONFIG).is_file() else path

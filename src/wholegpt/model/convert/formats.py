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
# What a directory of nanoGPT's may hold.
_NANOGPT = "ckpt.pt"


def recognise(path: Path) -> str:
    """The name of the format in FORMATS; WholeGPTError where a path holds no model."""
    for name, module in FORMATS.items():
        if module.recognises(path):
            return name
    expected = "a Hugging Face or OpenAI directory, or a file .safetensors, .bin (PyTorch, llm.c), .pt (nanoGPT), .gguf"
    raise WholeGPTError(f"{path} holds no model; expected {expected}")


def read(path: Path) -> Contents:
    """The model in a file or directory of any format; WholeGPTError that names the file and the fault."""
    path = path / _NANOGPT if (path / _NANOGPT).is_file() else path
    return FORMATS[recognise(path)].read(path)  # type: ignore[no-any-return]

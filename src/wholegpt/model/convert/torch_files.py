"""Files that `torch.save` wrote, read without running code and without inflating anything.

A pickle from a stranger is a program: only PyTorch's own reader of plain tensors and containers is let near it
(`weights_only`). Its files are archives of stored, not compressed, entries, so that honest ones never hold more than they
are long.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from wholegpt.errors import WholeGPTError


def recognises(path: Path) -> bool:
    """Whether a file begins like an archive or a pickle."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\\x03\\x04" or (stream.seek(0) == 0 and stream.read(1) == b"\\x80")


def load(path: Path) -> Any:
    """The content of a file, tensors memory-mapped where its form allows; WholeGPTError for anything but plain data."""
    archive = zipfile.is_zipfile(path)
    if archive:
        _refuse_bombs(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError:
        raise WholeGPTError(
            f"{path} holds more than tensors and plain values, such as code: it is not loaded"
        ) from None
    except Exception as error:  # what a broken pickle raises has no bounds
        raise WholeGPTError(f"{path} is not a whole file of torch.save ({type(error).__name__})") from None


def _refuse_bombs(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WholeGPTError(f"{path} is not a whole file of torch.save ({error})") from None
    size = path.stat().st_size
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(e.file_size for e in entries) > size:
        raise WholeGPTError(f"{path} claims to hold more than its {size} bytes: it is not loaded")

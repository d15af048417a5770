"""Files that `torch.save` wrote, read without running code and without room for more than the file holds.

A pickle is a program. PyTorch's reader of plain data (`weights_only`) refuses foreign code but allows bytearray(2**40),
and tuples so deep that the process dies; so what a pickle calls and claims is looked at before it is run.

Two forms: an archive of a pickle and the values of the tensors, and what PyTorch wrote before 1.6, five pickles and the
values behind them, in which the first conversions of GPT-2 still lie around.
"""

import mmap
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import torch

from wholegpt.errors import WholeGPTError

_ARCHIVE = b"PK\x03\x04"
_CALLABLE = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    *(("torch", f"{kind}Storage") for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Bool", "Byte")),
}
# Five a tensor; the largest GPT-2 has some 2,300 with its optimizer.
_MOST_TUPLES = 50_000
# The old form: a magic number, a protocol, facts about the system, the content, the keys of the values.
_OLD_PICKLES = 5
_MAGIC_BYTES = 32
_NUMBERS = ([pickletools.pyint], [pickletools.pyinteger_or_bool])


def recognises(path: Path) -> bool:
    """Whether a file begins like something that torch.save wrote."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(4)
    return start == _ARCHIVE or start[:1] == b"\x80"


def load(path: Path) -> dict[Any, Any]:
    """The dictionary in a file, its tensors memory-mapped where the form allows; WholeGPTError for anything else."""
    with path.open("rb") as stream:
        archive = stream.read(4) == _ARCHIVE
    if archive:
        _check_archive(path)
    else:
        _check_old_form(path)
    try:
        content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # the unpickler runs a program that a broken file can make anything of
        raise WholeGPTError(f"{path} is not a whole file of torch.save ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise WholeGPTError(f"{path} is no checkpoint: it holds a {type(content).__name__}, expected a dictionary")
    return content


def _check_archive(path: Path) -> None:
    """Refuse what would be larger in memory than on the disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, entries)
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or any(entry.filename.endswith("/constants.pkl") for entry in entries):
                raise WholeGPTError(f"{path} is no archive of torch.save (one data.pkl expected)")
            _check_pickle(path, archive.read(pickles[0]))
    except (zipfile.BadZipFile, ValueError, OverflowError, OSError, EOFError, RuntimeError) as error:
        raise WholeGPTError(f"{path} is not a whole archive of torch.save ({type(error).__name__})") from None


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """torch.save compresses nothing and begins with the first entry; a file that begins otherwise may hold two tables
    of contents, of which torch would read another one than zipfile."""
    if not entries or min(entry.header_offset for entry in entries) != 0:
        raise WholeGPTError(f"{path} does not begin with an entry of its archive, as torch.save writes it")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WholeGPTError(f"{path} holds compressed entries, which torch.save never writes: refused")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise WholeGPTError(f"{path} claims to hold more bytes than the file has: refused")
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise WholeGPTError(f"{path} names an entry outside of its archive: {entry.filename!r}")


def _check_old_form(path: Path) -> None:
    """The pickles one after another; their tensors may not claim more values than the file has bytes, which leaves room
    for values that are shared."""
    claimed, size = 0, path.stat().st_size
    try:
        # Mapped: a file would take memory for as many bytes as a pickle asks it to read.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
            for number in range(_OLD_PICKLES):
                start = stream.tell()
                claimed += _check_pickle(path, cast(IO[bytes], stream))
                if number == 0 and stream.tell() - start > _MAGIC_BYTES:
                    raise WholeGPTError(f"{path} is not a file of torch.save: it does not begin with its magic number")
    except (ValueError, OverflowError, OSError, EOFError, RuntimeError, IndexError) as error:
        raise WholeGPTError(f"{path} is not a whole file of torch.save ({type(error).__name__})") from None
    if claimed > size:
        raise WholeGPTError(f"{path} claims larger tensors than the file can hold: refused")


def _check_pickle(path: Path, content: bytes | IO[bytes]) -> int:
    """Refuse a pickle that calls what no tensor needs; returns how many values its tensors claim to have together."""
    tuples = last_number = claimed = 0
    with warnings.catch_warnings():
        # An escape sequence in a name, deprecated or not, makes no name that may be called.
        warnings.simplefilter("ignore", DeprecationWarning)
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "PROTO" and argument != 2:
                raise WholeGPTError(f"{path} is a pickle of protocol {argument}; expected 2, which torch.save writes")
            if operation.name == "GLOBAL" and tuple(str(argument).split(" ")) not in _CALLABLE:
                raise WholeGPTError(f"{path} asks for {str(argument)!r}, which no tensor needs: refused")
            if isinstance(argument, int) and operation.stack_after in _NUMBERS:
                last_number = argument
            tuples += operation.name.startswith("TUPLE")
            claimed += last_number if operation.name == "BINPERSID" else 0
    if tuples > _MOST_TUPLES:
        raise WholeGPTError(f"{path} holds {tuples} tuples, more than {_MOST_TUPLES}: refused")
    return claimed

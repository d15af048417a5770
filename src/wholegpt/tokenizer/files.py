"""The file formats of a byte-level BPE vocabulary, read and written.

| files                   | whose            | content                                              |
|-------------------------|------------------|------------------------------------------------------|
| tokenizer.json          | Hugging Face     | all in one file, the splitting pattern too           |
| vocab.json, merges.txt  | Hugging Face     | token -> id; pairs of tokens in the order of merging |
| encoder.json, vocab.bpe | OpenAI's release | the same under other names; tiktoken reads it, too   |
| tokenizer_config.json   | Hugging Face     | only written: which class `transformers` should use  |

Tokens are written with one printable character a byte (`bpe.BYTE_TO_CHARACTER`), special tokens as they are.
"""

from pathlib import Path
from typing import Any

import regex

from wholegpt import artifact, sources
from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer.bpe import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, END_OF_TEXT, PATTERN, Pair

Content = tuple[list[bytes], list[Pair], dict[str, int], str]

_SINGLE = "tokenizer.json"
_PAIRS_OF_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
# Settings of a tokenizer.json that would give other ids, and the values under which they do not.
_HARMLESS = {
    "dropout": (None, 0, 0.0),
    "unk_token": (None, "", END_OF_TEXT),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}


def find(path_or_name: str | Path) -> list[Path]:
    """The files of a tokenizer: a tokenizer.json, which also knows the pattern, otherwise vocabulary and merges."""
    path = Path(path_or_name)
    if not path.exists():
        if str(path_or_name) != "gpt2":
            raise WholeGPTError(f"{path_or_name} does not exist; expected a directory with a tokenizer, or gpt2")
        path = sources.fetch("gpt2-vocab")
    if path.is_file() and not any(path.name in pair for pair in _PAIRS_OF_FILES):
        return [path]
    folder = path if path.is_dir() else path.parent
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    for vocabulary, merges in _PAIRS_OF_FILES:
        if path in (folder, folder / vocabulary, folder / merges) and (folder / vocabulary).is_file():
            if not (folder / merges).is_file():
                raise WholeGPTError(f"{folder} has {vocabulary} but no {merges}, which belongs to it")
            return [folder / vocabulary, folder / merges]
    expected = "tokenizer.json, vocab.json + merges.txt or encoder.json + vocab.bpe"
    raise WholeGPTError(f"{path} holds no tokenizer: expected {expected}")


def lie_in(folder: Path) -> bool:
    """Whether a directory holds a tokenizer in one of the formats."""
    return any((folder / name).is_file() for name in (_SINGLE, *(vocabulary for vocabulary, _ in _PAIRS_OF_FILES)))


def read(found: list[Path]) -> Content:
    """The content of the files that `find` found."""
    return _from_single(*found) if len(found) == 1 else _from_pair(*found)


def save(folder: Path, content: Content) -> None:
    """Write Hugging Face's files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json."""
    ids, lines = _vocabulary_and_merges(content)
    folder.mkdir(parents=True, exist_ok=True)
    artifact.write_json(folder / "vocab.json", ids)
    artifact.write_bytes(folder / "merges.txt", lines)
    artifact.write_json(folder / _SINGLE, _single(content, ids))
    special, pattern = content[2:]
    settings: dict[str, Any] = {"add_prefix_space": False, "clean_up_tokenization_spaces": False}
    # Only the general class reads the pattern in tokenizer.json.
    settings["tokenizer_class"] = "GPT2Tokenizer" if pattern == PATTERN else "PreTrainedTokenizerFast"
    if END_OF_TEXT in special:
        settings |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    artifact.write_json(folder / "tokenizer_config.json", settings)


def save_as_released(folder: Path, content: Content) -> None:
    """Write OpenAI's files: encoder.json, vocab.bpe; WholeGPTError for another pattern, which they cannot hold."""
    if content[3] != PATTERN:
        raise WholeGPTError("encoder.json and vocab.bpe have no place for a pattern other than GPT-2's")
    ids, lines = _vocabulary_and_merges(content)
    folder.mkdir(parents=True, exist_ok=True)
    artifact.write_json(folder / "encoder.json", ids)
    artifact.write_bytes(folder / "vocab.bpe", lines)


def to_characters(token: bytes) -> str:
    """One printable character a byte: b" a" becomes "Ġa"."""
    return "".join(BYTE_TO_CHARACTER[byte] for byte in token)


def to_bytes(token: str) -> bytes:
    """The inverse of `to_characters`."""
    return bytes(CHARACTER_TO_BYTE[character] for character in token)


def _vocabulary_and_merges(content: Content) -> tuple[dict[str, int], bytes]:
    """Token -> id, and the lines of merges.txt."""
    vocabulary, merges, special, _ = content
    names = {index: token for token, index in special.items()}
    tokens = [names.get(index) or to_characters(token) for index, token in enumerate(vocabulary)]
    lines = ["#version: 0.2", *(f"{tokens[left]} {tokens[right]}" for left, right in merges)]
    return {token: index for index, token in enumerate(tokens)}, ("\n".join(lines) + "\n").encode()


def _single(content: Content, ids: dict[str, int]) -> dict[str, Any]:
    """The content of a tokenizer.json."""
    vocabulary, merges, special, pattern = content
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pattern == PATTERN}
    splitting: dict[str, Any] = byte_level
    if pattern != PATTERN:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        splitting = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    text = [to_characters(token) for token in vocabulary]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": token, **flags} for token, index in special.items()],
        "normalizer": None,
        "pre_tokenizer": splitting,
        "post_processor": byte_level | {"trim_offsets": False, "use_regex": True},
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            **dict.fromkeys(("dropout", "unk_token")),
            **dict.fromkeys(("continuing_subword_prefix", "end_of_word_suffix"), ""),
            **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
            "vocab": ids,
            "merges": [[text[left], text[right]] for left, right in merges],
        },
    }


def _from_pair(vocabulary: Path, merges: Path) -> Content:
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise WholeGPTError(f"{merges} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    pairs = [tuple(line.split(" ")) for line in lines if line]
    ids = artifact.read_json(vocabulary)
    special = {END_OF_TEXT: ids[END_OF_TEXT]} if isinstance(ids, dict) and END_OF_TEXT in ids else {}
    return _content(ids, pairs, special, PATTERN, vocabulary)


def _from_single(path: Path) -> Content:
    content = artifact.read_json(path)
    try:
        model = content["model"]
        ids = dict(model["vocab"])
        pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]]
        special = {added["content"]: added["id"] for added in content.get("added_tokens", []) if added["special"]}
        pattern = _pattern(content.get("pre_tokenizer"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise WholeGPTError(f"{path} is not a tokenizer.json of a BPE model") from None
    other = [key for key, harmless in _HARMLESS.items() if model.get(key) not in harmless]
    if content.get("normalizer") or other:
        raise WholeGPTError(f"{path} has the setting {(other or ['normalizer'])[0]}, which byte-level BPE has not")
    if pattern is None:
        raise WholeGPTError(f"{path} splits text otherwise than by one regular expression: not supported")
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise WholeGPTError(f"{path}: the pattern {pattern!r} is no regular expression here ({error})") from None
    return _content(ids | special, pairs, special, pattern, path)


def _pattern(splitting: Any) -> str | None:
    """The pattern of a pre-tokenizer: `ByteLevel` has GPT-2's, after a `Split` it has none; None for all others."""
    parts = splitting["pretokenizers"] if (splitting or {}).get("type") == "Sequence" else [splitting]
    *splits, last = parts
    if not last or last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return None
    if last.get("use_regex", True):
        return PATTERN if not splits else None
    if [split["type"] for split in splits] != ["Split"]:
        return None
    split = splits[0]
    usual = split["behavior"] == "Isolated" and not split.get("invert") and "Regex" in split["pattern"]
    return str(split["pattern"]["Regex"]) if usual else None


def _content(ids: Any, pairs: list[tuple[Any, ...]], special: dict[str, int], pattern: str, path: Path) -> Content:
    if not isinstance(ids, dict) or sorted(map(str, ids.values())) != sorted(map(str, range(len(ids)))):
        raise WholeGPTError(f"{path} does not give the ids 0 to n - 1 to n tokens")
    vocabulary = [b""] * len(ids)
    try:
        for token, index in ids.items():
            vocabulary[index] = token.encode() if token in special else to_bytes(token)
        merges = [(ids[left], ids[right]) for left, right in pairs]
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise WholeGPTError(f"{path}: the vocabulary and the merges do not fit together ({error})") from None
    return vocabulary, merges, special, pattern

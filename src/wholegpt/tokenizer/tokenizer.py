"""The tokenizer that users hold: text to ids and back, special tokens, loading and saving."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import regex

from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import files
from wholegpt.tokenizer.bpe import END_OF_TEXT, PATTERN, Pair, encode_piece, split

# Pieces whose ids are remembered; English repeats itself, and 2**18 pieces take about 60 MB.
CACHED_PIECES = 2**18


class Tokenizer:
    """Byte-level BPE: every text has ids, and `decode(encode(text)) == text`.

    `vocabulary` holds the bytes of each id, `merges` pairs of ids in the order of learning, `special` the ids of
    tokens that stand for no text, such as `<|endoftext|>`.

    >>> tokenizer = Tokenizer.load("gpt2")
    >>> tokenizer.encode("Hello world")
    [15496, 995]
    """

    def __init__(
        self, vocabulary: Sequence[bytes], merges: Sequence[Pair], special: dict[str, int], pattern: str = PATTERN
    ) -> None:
        self.vocabulary, self.merges, self.special = list(vocabulary), list(merges), dict(special)
        ids = {token: index for index, token in enumerate(self.vocabulary) if index not in special.values()}
        missing = [byte for byte in range(256) if bytes([byte]) not in ids]
        if missing:
            raise WholeGPTError(f"not a byte-level vocabulary: it has no entry for byte 0x{missing[0]:02x}")
        self._byte_ids = {byte: ids[bytes([byte])] for byte in range(256)}
        self._merges: dict[Pair, tuple[int, int]] = {}
        for rank, (left, right) in enumerate(self.merges):
            new = ids.get(self.vocabulary[left] + self.vocabulary[right])
            if new is None:
                raise WholeGPTError(f"merge {rank + 1} gives a token that is not in the vocabulary")
            self._merges.setdefault((left, right), (rank, new))
        self._split = regex.compile(pattern)
        self._special = regex.compile("|".join(regex.escape(token) for token in special)) if special else None
        self._cache: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """Entries, special tokens included."""
        return len(self.vocabulary)

    @property
    def eot(self) -> int:
        """The id of `<|endoftext|>`, which separates documents."""
        if END_OF_TEXT not in self.special:
            raise WholeGPTError(f"this vocabulary has no {END_OF_TEXT}")
        return self.special[END_OF_TEXT]

    def encode(self, text: str, allowed_special: Collection[str] | str = ()) -> list[int]:
        """Ids of a text in which the special tokens of `allowed_special` (a set, or "all") become their own ids.

        Raises ValueError where the text holds another special token: text from users must not end a document
        unnoticed. `encode_ordinary` treats them as text.
        """
        allowed = set(self.special) if allowed_special == "all" else set(allowed_special)
        ids: list[int] = []
        start = 0
        for found in self._special.finditer(text) if self._special else ():
            token = found.group()
            if token not in allowed:
                raise ValueError(
                    f"the text holds the special token {token} at character {found.start()}; encode it as a token "
                    f'with allowed_special={{"{token}"}}, or as text with encode_ordinary(text)'
                )
            ids += self.encode_ordinary(text[start : found.start()])
            ids.append(self.special[token])
            start = found.end()
        return ids + self.encode_ordinary(text[start:])

    def encode_ordinary(self, text: str) -> list[int]:
        """Ids of a text, special tokens in it taken as text; ValueError for a lone surrogate, which has no bytes."""
        ids: list[int] = []
        for piece in split(text, self._split):
            known = self._cache.get(piece)
            if known is None:
                known = encode_piece(_utf8(piece, text), self._byte_ids, self._merges)
                if len(self._cache) < CACHED_PIECES:
                    self._cache[piece] = known
            ids += known
        return ids

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of some ids; bytes that are not UTF-8, such as half a character, become U+FFFD by default."""
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of some ids; ValueError for an id outside the vocabulary."""
        return b"".join(self.token_bytes(index) for index in ids)

    def token_bytes(self, index: int) -> bytes:
        """The bytes that one id stands for."""
        if not 0 <= index < len(self.vocabulary):
            raise ValueError(f"id {index} is outside the vocabulary of {len(self.vocabulary)} entries")
        return self.vocabulary[index]

    @classmethod
    def load(cls, path_or_name: str | Path) -> "Tokenizer":
        """Load `gpt2` (the released vocabulary) or a directory or file in one of three formats: vocab.json +
        merges.txt, encoder.json + vocab.bpe, tokenizer.json."""
        return cls(*files.load(path_or_name))

    def save(self, folder: Path) -> None:
        """Write vocab.json and merges.txt, which Hugging Face's GPT-2 tokenizer and others read."""
        files.save(folder, self.vocabulary, self.merges, self.special)


def _utf8(piece: str, text: str) -> bytes:
    try:
        return piece.encode()
    except UnicodeEncodeError:
        position = next(index for index, character in enumerate(text) if "\ud800" <= character <= "\udfff")
        raise ValueError(
            f"the text holds a lone surrogate (U+{ord(text[position]):04X}) at character {position}, "
            "which has no UTF-8 bytes"
        ) from None

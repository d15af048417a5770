"""The tokenizer that users hold: text to ids and back, special tokens, loading and saving."""

import codecs
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from wholegpt import compiled
from wholegpt.errors import WholeGPTError
from wholegpt.tokenizer import files, tables
from wholegpt.tokenizer.bpe import END_OF_TEXT, PATTERN, Pair
from wholegpt.tokenizer.encoder import Encoder, PlainEncoder, batches, utf8
from wholegpt.tokenizer.tables import Tables


class Tokenizer:
    """Byte-level BPE: every text has ids, and `decode(encode(text)) == text`.

    `vocabulary` holds the bytes of each id, `merges` pairs of ids in the order of learning, `special` the ids of
    tokens that stand for no text, such as `<|endoftext|>`. Several threads may use one tokenizer.

    >>> tokenizer = Tokenizer.load("gpt2")
    >>> tokenizer.encode("Hello world")
    [15496, 995]
    """

    def __init__(
        self, vocabulary: Sequence[bytes], merges: Sequence[Pair], special: dict[str, int], pattern: str = PATTERN
    ) -> None:
        self._start(Tables.build(vocabulary, merges, special, pattern))

    def _start(self, content: Tables) -> None:
        self._tables = content
        self.vocabulary, self.special, self.pattern = content.vocabulary, content.special, content.pattern
        marks = "|".join(regex.escape(token) for token in self.special)
        self._special = regex.compile(marks) if marks else None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in another process too, begins without the word caches, whose addresses mean nothing there."""
        return Tokenizer, (self.vocabulary, self.merges, self.special, self.pattern)

    @property
    def merges(self) -> list[Pair]:
        """Pairs of ids in the order of learning."""
        return [(left, right) for left, right, _ in self._tables.merges.tolist()]

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
        ids: list[int] = self._encoder.encode([utf8(text)])[0].tolist()
        return ids

    def encode_batch(self, texts: Iterable[str], threads: int | None = None) -> list[NDArray[Any]]:
        """Ids of each text as `encode_ordinary` gives them, by so many threads (default: one a core).

        The arrays are uint16 for vocabularies of up to 65,536 entries, otherwise uint32.
        """
        dtype = np.uint16 if self.vocab_size <= 2**16 else np.uint32

        def encode(batch: list[str]) -> list[NDArray[Any]]:
            ids, starts = self._encoder.encode([utf8(text) for text in batch])
            compact, ends = ids.astype(dtype), starts.tolist()
            return [compact[start:end] for start, end in pairwise(ends)]

        threads = threads or compiled.threads()
        parts = compiled.spread(encode, batches(texts), threads if threads > 1 else 0)
        return [ids for part in parts for ids in part]

    def encode_documents(self, documents: Sequence[bytes]) -> NDArray[np.uint32]:
        """Ids of documents given as UTF-8 bytes, `<|endoftext|>` before each, one after another; in this thread.

        Bytes that are not UTF-8 give ids that decode to the same bytes, but not those that other encoders give.
        """
        return self._encoder.encode(documents, self.eot)[0]

    def count_words(self, documents: Sequence[bytes]) -> int:
        """How many words `str.split()` finds in documents given as UTF-8 bytes."""
        return self._encoder.words(documents)

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of some ids; bytes that are not UTF-8, such as half a character, become U+FFFD by default."""
        return self.decode_bytes(ids).decode("utf-8", errors)

    def incremental_decoder(self, errors: str = "replace") -> "IncrementalDecoder":
        """A decoder for ids that arrive one after another: it never gives a part of a character.

        >>> decoder = Tokenizer.load("gpt2").incremental_decoder()
        >>> [decoder.decode([index]) for index in [27, 47249, 222, 29]]
        ['<', '', '😀', '>']
        """
        return IncrementalDecoder(self, errors)

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
        """Load `gpt2` (the released vocabulary) or a directory or file in one of three formats: tokenizer.json,
        vocab.json + merges.txt, encoder.json + vocab.bpe."""
        found = files.find(path_or_name)
        tokenizer = cls.__new__(cls)
        tokenizer._start(tables.cached(found, lambda: Tables.build(*files.read(found))))
        return tokenizer

    def save(self, folder: Path) -> None:
        """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json: `transformers`, `tokenizers`."""
        files.save(folder, (self.vocabulary, self.merges, self.special, self.pattern))

    def save_as_released(self, folder: Path) -> None:
        """Write encoder.json and vocab.bpe, as OpenAI released them: `tiktoken`, the released code."""
        files.save_as_released(folder, (self.vocabulary, self.merges, self.special, self.pattern))

    @cached_property
    def _encoder(self) -> Encoder | PlainEncoder:
        """Kernels, where they can be had and know the pattern; otherwise the readable twin."""
        content = self._tables
        if self.pattern == PATTERN and compiled.load("wholegpt.tokenizer.kernel"):
            return Encoder(content.byte_ids, content.merges)
        return PlainEncoder(content.byte_ids, content.merges, self.pattern)


class IncrementalDecoder:
    """Ids to text as they arrive, in the manner of `codecs.IncrementalDecoder`; all parts joined are the whole text."""

    def __init__(self, tokenizer: Tokenizer, errors: str) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def decode(self, ids: Iterable[int], final: bool = False) -> str:
        """The text that is certain now; what may still become a character waits for the next call or `final`."""
        return self._decoder.decode(self._tokenizer.decode_bytes(ids), final)

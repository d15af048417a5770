"""Byte-level BPE (section 2.2): the readable twin, the class that users hold, learning, and the file formats."""

from wholegpt.tokenizer.tokenizer import Tokenizer

__all__ = ["Tokenizer"]

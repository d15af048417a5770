"""Archives for tests, written by hand: one record as bytes, and an answer of HTTP."""

import gzip
from pathlib import Path


def record(kind: str, block: bytes, url: str = "", **fields: str) -> bytes:
    """A record of WARC; underscores in the names of fields stand for hyphens."""
    header = {"WARC-Type": kind, "WARC-Date": "2024-05-06T07:08:09Z", "Content-Length": str(len(block))}
    header |= {"WARC-Target-URI": url} if url else {}
    header |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in header.items())
    return b"WARC/1.1\r\n" + lines.encode() + b"\r\n" + block + b"\r\n\r\n"


def answer(body: bytes, status: int = 200, **headers: str) -> bytes:
    headers = {"Content_Type": "text/html", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


def page(title: str, body: str, head: str = "") -> bytes:
    return f"<!DOCTYPE html><html><head><title>{title}</title>{head}</head><body>{body}</body></html>".encode()


def article(number: int = 0, head: str = "") -> bytes:
    """A page of four English paragraphs, different for each number, and what surrounds them."""
    sentences = [
        f"Early in the morning of day {number} the miller walked down to the river to look at the water.",
        "It had risen in the night, and the old wheel was turning faster than anyone in the village remembered.",
        f"By noon {number + 3} sacks of flour stood in the yard, and his daughter wrote their weight in the book.",
        "Nobody spoke of the storm any more, but the dogs would not come out from under the wagon until evening.",
    ]
    paragraphs = "".join(f"<p>{sentence}</p>" for sentence in sentences)
    navigation = '<nav><a href="/">Home</a> <a href="/about">About</a></nav>'
    return page(f"Day {number}", f"{navigation}<article><h1>Day {number}</h1>{paragraphs}</article>", head)


def write(path: Path, *records: bytes) -> Path:
    """A file of records, each a member of its own where the name ends in .gz."""
    compress = gzip.compress if path.suffix == ".gz" else bytes
    path.write_bytes(b"".join(map(compress, records)))
    return path

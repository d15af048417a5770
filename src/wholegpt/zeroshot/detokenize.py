"""Invertible de-tokenizers (section 3.1): from the words of a test set to text as people write it, and back exactly.

The paper evaluates with "invertible de-tokenizers which remove as many of these tokenization / pre-processing artifacts
as possible" and publishes none. Here a line of tokens becomes chunks without spaces: `retokenize` cuts each chunk by
itself, by the rules of a `Style`; `detokenize` joins tokens only into chunks that are cut into just those tokens again.
So `retokenize(detokenize(text, style), style) == text` holds for every string, not only for the set's own. A token that
the rules would cut otherwise stands behind ESCAPE, a line that is not of the set's form behind ESCAPE and a space;
both are text that the model has to predict, so that no information escapes the score.

    >>> detokenize(" It is a guest @-@ starring role , isn 't it ? ( 1 @,@ 000 ) ", WIKITEXT)
    "It is a guest-starring role, isn't it? (1,000)"
    >>> retokenize("It is a guest-starring role, isn't it? (1,000)", WIKITEXT)
    " It is a guest @-@ starring role , isn 't it ? ( 1 @,@ 000 ) "

Unstated in the paper: all rules. `<unk>` and small letters stay as they are; PTB's N becomes 1. What other projects use
instead is in `megatron.py`; it is not invertible.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

# "Data link escape": one byte that none of the sets contains.
ESCAPE = "\x10"
# Tokens of a chunk at most, so that hostile lines take no quadratic time.
LONGEST_CHUNK = 16
# A chunk of more characters is one token.
LONGEST_TOKEN = 1_000

# Words that keep their period when the set's tokenizer cuts off those of sentences.
_ABBREVIATIONS = """
adm ala apr ariz assn aug ave bros brig calif capt cie cmdr co col colo conn corp dec del dept dr et etc feb
fla fr gen gov hon ill inc ind jan jr kan ky la lt ltd maj mass md messrs mich minn miss mo mr mrs ms mt mts
neb nev no nos nov oct okla ore pa pres prof pvt rep reps rev sen sens sept sgt sr st supt tenn tex univ va vs
vt wash wis
"""
_ABBREVIATED = frozenset(_ABBREVIATIONS.split())
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")

# Chunks that begin with an apostrophe and no quotation mark.
_ELIDED = (
    "'em",
    "'tis",
    "'twas",
    "'twere",
    "'twill",
    "'twould",
    "'t",
    "'s",
    "'ll",
    "'re",
    "'ve",
    "'d",
    "'m",
    "'n",
    "'cause",
)


@dataclass(frozen=True, eq=False)
class Style:
    """How a set was tokenized: what of its tokens is attached to what in natural text, and how it is written there."""

    padded: bool = False
    """Lines have a space at both ends."""
    opening: Mapping[str, str] = field(default_factory=dict)
    """Tokens that attach to the next one, each with how it is written."""
    closing: Mapping[str, str] = field(default_factory=dict)
    """Tokens that attach to the one before; what is also in `opening` is a quotation mark that does both in turn."""
    between: Mapping[str, str] = field(default_factory=dict)
    """Tokens that attach to both sides; one character each as written."""
    between_digits: Mapping[str, str] = field(default_factory=dict)
    """The same, where a digit, or `<unk>`, stands on both sides."""
    contraction: str = r"'\w+"
    """Pattern of tokens such as 's that attach to the word before."""
    respelled: Mapping[str, str] = field(default_factory=dict)
    """Whole tokens that are written otherwise."""
    replaced: tuple[tuple[str, str], ...] = ()
    """Parts of tokens that are written otherwise."""
    whole: frozenset[str] = frozenset()
    """Chunks that are one token in spite of the rules, in lower case."""
    headings: bool = False
    """Signs = in a row attach to each other."""


_MONEY = {sign: sign for sign in "$£€¥₱₩#"}
_BRACKETS = {"(": "(", "[": "[", "{": "{"}, {")": ")", "]": "]", "}": "}"}
_POINTS = {point: point for point in (",", ".", ";", ":", "!", "?", "...", "%")}
_QUOTES = {mark: mark for mark in ('"', "'")}

WIKITEXT = Style(
    padded=True,
    opening={**_BRACKETS[0], **_MONEY, **_QUOTES, "“": "“"},
    closing={**_BRACKETS[1], **_POINTS, **_QUOTES, "”": "”"},
    between={"@-@": "-", "/": "/", "—": "—", "°": "°"},
    between_digits={"@,@": ",", "@.@": ".", ":": ":", "–": "–"},
    headings=True,
)
PTB = Style(
    padded=True,
    opening={sign: sign for sign in ("$", "c$", "hk$", "us$", "a$", "#")},
    closing={"'": "'"},
    contraction=r"n't|'(?!t$)\w+",
    respelled={"N": "1"},
    replaced=((r"\/", "/"),),
)
LM1B = Style(
    opening={**_BRACKETS[0], **_MONEY, **_QUOTES},
    closing={**_BRACKETS[1], **_POINTS, **_QUOTES},
    between={"/": "/"},
)
CBT = Style(
    opening={"-LRB-": "(", "-LSB-": "[", "-LCB-": "{", "``": '"', "`": "'", "$": "$"},
    closing={"-RRB-": ")", "-RSB-": "]", "-RCB-": "}", "''": '"', "'": "'", **_POINTS},
    contraction=r"n't|'(?!t$)\w+",
    whole=frozenset(_ELIDED),
)
STYLES = {"wikitext": WIKITEXT, "ptb": PTB, "lm1b": LM1B, "cbt": CBT}


def detokenize(text: str, style: Style) -> str:
    """Natural text of tokenized text, line by line; `retokenize` undoes it exactly."""
    *lines, rest = text.split("\n")
    natural = [_natural(line, style) for line in lines]
    # Without a line end after it, an empty line of the set could not be told from nothing.
    return "\n".join([*natural, (_natural(rest, style) or f"{ESCAPE} {rest}") if rest else ""])


def retokenize(text: str, style: Style) -> str:
    """What `detokenize` was given."""
    *lines, rest = text.split("\n")
    return "\n".join([*(_tokenized(line, style) for line in lines), _tokenized(rest, style) if rest else ""])


def _natural(line: str, style: Style) -> str:
    """A line without its end; one that is not of the set's form is kept behind ESCAPE and a space."""
    if style.padded and line == " ":
        natural = ""
    else:
        inner = line[1:-1] if style.padded else line
        natural = " ".join(_chunks(inner.split(" "), style))
    return natural if _tokenized(natural, style) == line else f"{ESCAPE} {line}"


def _tokenized(line: str, style: Style) -> str:
    if line.startswith(f"{ESCAPE} "):
        return line[2:]
    if not style.padded:
        return " ".join(token for chunk in line.split(" ") for token in cut(chunk, style))
    return f" {' '.join(token for chunk in line.split(' ') for token in cut(chunk, style))} " if line else " "


def _chunks(tokens: list[str], style: Style) -> list[str]:
    """The tokens joined to chunks, each of which `cut` divides into the tokens it was made of."""
    found: list[str] = []
    written = [_written(token, style) for token in tokens]
    start = 0
    attached = _attached(tokens, style)
    while start < len(tokens):
        end = start + 1
        while end < len(tokens) and end - start < LONGEST_CHUNK and attached[end]:
            end += 1
        while end > start and cut("".join(written[start:end]), style) != tuple(tokens[start:end]):
            end -= 1
        found.append("".join(written[start:end]) if end > start else ESCAPE + tokens[start])
        start = max(end, start + 1)
    return found


def _attached(tokens: list[str], style: Style) -> list[bool]:
    """Of each token, whether people write it without a space before it."""
    attached = [False] * len(tokens)
    opened: set[str] = set()
    after_opening = False
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else ""
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        opens, closes = token in style.opening, token in style.closing
        if opens and closes:  # a quotation mark, or the apostrophe of a plural
            closes = token in opened or (token == "'" and before[-1:] in ("s", "S", "z"))
            opens = not closes
            (opened.discard if closes else opened.add)(token)
        digits = re.search(r"[\d>]$", before) is not None and re.match(r"[\d<]", following) is not None
        joins = token in style.between or (token in style.between_digits and digits)
        heading = style.headings and token == before == "="
        suffix = re.fullmatch(style.contraction, token) is not None and re.search(r"[\w>]$", before) is not None
        attached[index] = bool(index) and (after_opening or closes or joins or heading or suffix)
        after_opening = opens or joins
    return attached


def _written(token: str, style: Style) -> str:
    for table in (style.opening, style.closing, style.between, style.between_digits, style.respelled):
        if token in table:
            return table[token]
    for part, natural in style.replaced:
        token = token.replace(part, natural)
    return token


@lru_cache(maxsize=1 << 16)
def cut(chunk: str, style: Style) -> tuple[str, ...]:
    """The tokens of a chunk of natural text, which has no space in it."""
    if chunk.startswith(ESCAPE):
        return (chunk[1:],)
    if chunk.lower() in style.whole or not chunk or len(chunk) > LONGEST_TOKEN:
        return (chunk,)
    if style.headings and not chunk.strip("="):
        return tuple(chunk)
    head: list[str] = []
    while mark := next((mark for mark in _longest(style.opening) if chunk.startswith(mark)), ""):
        head.append(_key(style.opening, mark))
        chunk = chunk.removeprefix(mark)
    tail: list[str] = []
    while mark := _last_mark(chunk, style):
        tail.insert(0, _key(style.closing, mark))
        chunk = chunk.removesuffix(mark)
    return (*head, *_core(chunk, style), *tail)


def _last_mark(chunk: str, style: Style) -> str:
    """The closing mark at the end of a chunk; the period of an abbreviation is none."""
    mark = next((mark for mark in _longest(style.closing) if chunk.endswith(mark)), "")
    word = re.split("[-/—]", chunk.removesuffix("."))[-1]
    abbreviated = word.lower() in _ABBREVIATED or _INITIALS.fullmatch(word + ".")
    return "" if mark == "." and abbreviated else mark


def _core(chunk: str, style: Style) -> list[str]:
    """The tokens of a chunk without marks at its ends."""
    suffixes: list[str] = []
    while found := re.fullmatch(f"(.*[\\w>])({style.contraction})", chunk, re.DOTALL):
        chunk = found[1]
        suffixes.insert(0, found[2])
    pieces = _infix(style).split(chunk) if style.between or style.between_digits else [chunk]
    marks = {written: token for table in (style.between, style.between_digits) for token, written in table.items()}
    tokens = [marks[piece] if index % 2 else _as_token(piece, style) for index, piece in enumerate(pieces)]
    return [*filter(None, tokens), *suffixes]


def _as_token(piece: str, style: Style) -> str:
    for token, written in style.respelled.items():
        if piece == written:
            return token
    for part, natural in style.replaced:
        piece = piece.replace(natural, part)
    return piece


@lru_cache
def _infix(style: Style) -> re.Pattern[str]:
    """Every mark inside a chunk that is a token; those of digits only between digits, of which `<unk>` may be one."""
    anywhere = (rf"(?<=[^{mark}]){mark}(?=[^{mark}])" for mark in map(re.escape, style.between.values()))
    digits = (rf"(?<=[\d>]){mark}(?=[\d<])" for mark in map(re.escape, style.between_digits.values()))
    return re.compile(f"({'|'.join((*anywhere, *digits))})")


@lru_cache
def _longest_first(style_table: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(style_table, key=len, reverse=True))


def _longest(table: Mapping[str, str]) -> tuple[str, ...]:
    return _longest_first(tuple(table.values()))


def _key(table: Mapping[str, str], written: str) -> str:
    return next(token for token, natural in table.items() if natural == written)

"""The de-tokenizing rules of NVIDIA's Megatron-LM (tasks/zeroshot_gpt) and lm-evaluation-harness, for comparison.

They are not invertible (N becomes 1, spaces inside quotes and brackets are lost), so they are a named mode beside
`detokenize.py`, never the default. With GPT-2's vocabulary they give WikiText-103's test set 270,330 tokens, which
Megatron prints as the token ratio (270,330 - 1) / (245,566 - 1) = 1.1008449901248143: it counts words by splitting at
spaces alone, which leaves line ends inside pieces. LAMBADA's file is natural text, which Megatron leaves alone.
"""

import re

# Applied one after the other to the whole text.
_WIKITEXT = (
    (r"s '", "s'"),
    (r" @-@ ", "-"),
    (r" @,@ ", ","),
    (r" @\.@ ", "."),
    *((f" {re.escape(mark)} ", f"{mark} ") for mark in ":;.!?,"),
    (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
    (r"{\s*([^}]*?)\s*}", r"{\1}"),
    (r'"\s*([^"]*?)\s*"', r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"),
    (r"= = = =", "===="),
    (r"= = =", "==="),
    (r"= =", "=="),
    (r" ° ", "°"),
    (r" \n", "\n"),
    (r"\n ", "\n"),
    (r" N ", " 1 "),
    (r" 's", "'s"),
)
_PTB = ((r" '", "'"), (r" \n", "\n"), (r"\n ", "\n"), (r" n't", "n't"), (r" N ", "1 "), (r"\$ 1", "$1"), (r"# 1", "#1"))
RULES = {"wikitext": _WIKITEXT, "ptb": _PTB, "lambada": ()}


def detokenize(text: str, name: str) -> str:
    """The text of a set by Megatron's rules; `name` is a key of RULES.

    >>> detokenize(' It cost $ 1 @,@ 000 ( " N " ) , the Smiths \\' last . \\n', "wikitext")
    ' It cost $ 1,000 ("N"), the Smiths\\' last.\\n'
    """
    for pattern, written in RULES[name]:
        text = re.sub(pattern, written, text)
    return text


def units(text: str) -> int:
    """What Megatron divides by, one less than these: pieces between spaces of the text as it was."""
    return len(text.strip().split(" "))

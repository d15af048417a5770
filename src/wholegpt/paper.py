"""What "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019) states, and where.

Numbers are the paper's own. Where the paper is silent the value is UNSTATED, and the docstring of the code that had to
choose says so ("Unstated in the paper:").
"""

from dataclasses import dataclass

UNSTATED = None


@dataclass(frozen=True)
class Size:
    """A model of table 2; `name` is what Hugging Face calls it, `paper_name` the paper's label for it."""

    name: str
    paper_name: str
    parameters: int
    n_layer: int
    n_embd: int
    n_head: int


# Table 2. The paper labels the models by counts that its released weights do not have; `parameters` are the real ones.
# It gives no number of heads: those are the released hparams.json's.
SIZES = (
    Size("gpt2", "117M", 124_439_808, 12, 768, 12),
    Size("gpt2-medium", "345M", 354_823_168, 24, 1024, 16),
    Size("gpt2-large", "762M", 774_030_080, 36, 1280, 20),
    Size("gpt2-xl", "1542M", 1_557_611_200, 48, 1600, 25),
)


@dataclass(frozen=True)
class Row:
    """A row of table 3, or of what section 3 states beside it: zero-shot results of the four sizes, and the state of
    the art of the time; None where the paper has a curve at most."""

    task: str
    metric: str
    state_of_the_art: float | None
    ours: tuple[float | None, float | None, float | None, float | None]
    higher_is_better: bool


# Table 3, section 3.1 to 3.3.
TABLE_3 = (
    Row("LAMBADA", "perplexity", 99.8, (35.13, 15.60, 10.87, 8.63), False),
    Row("LAMBADA", "accuracy, %", 59.23, (45.99, 55.48, 60.12, 63.24), True),
    Row("CBT-CN", "accuracy, %", 85.7, (87.65, 92.35, 93.45, 93.30), True),
    Row("CBT-NE", "accuracy, %", 82.3, (83.4, 87.1, 88.0, 89.05), True),
    Row("WikiText-2", "perplexity", 39.14, (29.41, 22.76, 19.93, 18.34), False),
    Row("PTB", "perplexity", 46.54, (65.85, 47.33, 40.31, 35.76), False),
    Row("enwik8", "bits per byte", 0.99, (1.16, 1.01, 0.97, 0.93), False),
    Row("text8", "bits per character", 1.08, (1.17, 1.06, 1.02, 0.98), False),
    Row("WikiText-103", "perplexity", 18.3, (37.50, 26.37, 22.05, 17.48), False),
    Row("1BW", "perplexity", 21.8, (75.20, 55.72, 44.575, 42.16), False),
)

# Sections 3.3 to 3.8: what the text states, of the largest model unless it says otherwise.
SECTION_3 = (
    Row("LAMBADA", "accuracy without stop-word filter, %", None, (None, None, None, 52.66), True),
    Row("Winograd", "accuracy, %", None, (None, None, None, 70.70), True),
    Row("CoQA", "F1", None, (None, None, None, 55.0), True),
    Row("CNN/Daily Mail", "mean of ROUGE-1, -2, -L", 32.75, (None, None, None, 21.40), True),
    Row("WMT-14 English-French", "BLEU", None, (None, None, None, 5.0), True),
    Row("WMT-14 French-English", "BLEU", None, (None, None, None, 11.5), True),
    Row("Natural Questions", "exact match, %", None, (None, None, None, 4.1), True),
    Row("Natural Questions", "exact match of the most confident 1 %, %", None, (None, None, None, 63.1), True),
)


def row(task: str, metric: str) -> Row:
    """The row of table 3 or of section 3's text; KeyError if there is none."""
    for found in (*TABLE_3, *SECTION_3):
        if (found.task, found.metric) == (task, metric):
            return found
    raise KeyError(f"the paper has no {metric} of {task}")


# Table 4, section 3.6: ROUGE-1, -2, -L F1 and their mean on CNN/Daily Mail; GPT-2 is the largest model.
TABLE_4 = {
    "Bottom-Up Sum": (41.22, 18.68, 38.34, 32.75),
    "Lede-3": (40.38, 17.66, 36.62, 31.55),
    "Seq2Seq + Attn": (31.33, 11.81, 28.83, 23.99),
    "GPT-2 TL;DR:": (29.34, 8.27, 26.58, 21.40),
    "Random-3": (28.78, 8.63, 25.52, 20.98),
    "GPT-2 no hint": (21.58, 4.03, 19.47, 15.03),
}

# Table 6, section 4: % of the 8-grams of a test set that are also in its own training set, and in WebText's.
TABLE_6 = {
    "PTB": (2.67, 0.88),
    "WikiText-2": (0.66, 1.63),
    "enwik8": (7.50, 6.31),
    "text8": (2.34, 3.94),
    "WikiText-103": (9.09, 2.42),
    "1BW": (13.19, 3.75),
}

# Section 3.8: exact match of the most common answer for each question word [%].
QUESTION_WORD_BASELINE = 1.0


@dataclass(frozen=True)
class Reproduction:
    """What others get with the released weights of one size, by the protocol of one figure of `wholegpt evaluate`."""

    task: str
    figure: str
    size: str
    value: float
    """In the unit of the paper's row: accuracies in %."""
    source: str
    options: tuple[tuple[str, str], ...] = ()
    """The options of the task, beside its defaults, that make it the same protocol."""


REPRODUCTIONS = (
    Reproduction("lambada", "perplexity,word", "gpt2", 40.06, "EleutherAI/lm-evaluation-harness#2159"),
    Reproduction("lambada", "perplexity,word", "gpt2-xl", 10.63, "EleutherAI/lm-evaluation-harness#911"),
    Reproduction("lambada", "acc,word", "gpt2", 32.56, "EleutherAI/lm-evaluation-harness#2159"),
    Reproduction("lambada", "acc,word", "gpt2-medium", 42.0, "HKUNLP/DiffuLLaMA#14, rounded"),
    Reproduction("lambada", "acc,filter-every", "gpt2", 41.98, "cybertronai/bflm eval_lambada_slow.py"),
    Reproduction("lambada", "acc,last-token", "gpt2", 46.67, "cybertronai/bflm eval_lambada.py"),
    Reproduction("cbt-cn", "acc,none", "gpt2", 84.35, "huggingface/transformers#13761"),
    Reproduction("cbt-ne", "acc,none", "gpt2", 73.65, "huggingface/transformers#13761"),
    Reproduction(
        "wikitext103", "word_perplexity,megatron", "gpt2", 37.37, "EleutherAI/lm-evaluation-harness, wikitext",
        (("part", "raw"), ("texts", "megatron"), ("reading", "documents"), ("line_ends", "not-counted")),
    ),
    Reproduction("wikitext103", "word_perplexity,as-is", "gpt2", 48.4, "karpathy/llm.c#483"),
    Reproduction("ptb", "word_perplexity,as-is", "gpt2", 79.65, "huggingface/transformers#13786"),
    Reproduction("ptb", "token_perplexity,as-is", "gpt2", 52.53, "huggingface/transformers#13786"),
    Reproduction("lm1b", "token_perplexity,as-is", "gpt2", 45.88, "huggingface/transformers#13761"),
    Reproduction("coqa", "f1,none", "gpt2-xl", 28.7, "openai/gpt-2#307"),
)  # fmt: skip

# Choices: name, value in the paper, section.
CHOICES = (
    ("held-out part", "5 % of WebText", "2.3"),
    ("vocabulary", "50,257 entries", "2.2"),
    ("context", "1,024 tokens", "2.3"),
    ("batch", "512 sequences", "2.3"),
    ("residual initialisation", "scaled by 1/sqrt(residual layers)", "2.3"),
    ("learning rate", "tuned by hand on the held-out part; value unstated", "3"),
    ("optimizer", UNSTATED, "3"),
    ("schedule", UNSTATED, "3"),
    ("training steps", UNSTATED, "3"),
    ("dropout", UNSTATED, "2.3"),
)

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
    """A row of table 3: zero-shot results of the four sizes and the state of the art of the time."""

    task: str
    metric: str
    state_of_the_art: float
    ours: tuple[float, float, float, float]
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

"""Which language a text is in, and how sure that is (py3langid, a model of 140 languages that it carries)."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from wholegpt.errors import UsageError

# Characters by which a document is judged: enough for a probability near one, a tenth of the time of a page.
SAMPLE_CHARACTERS = 2_000
ALL = "all"


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def identify(text: str) -> tuple[str, float]:
    """The code of the language (ISO 639) and its probability among all that the model knows.

    >>> identify("The river rises in the hills and runs to the sea.")[0]
    'en'
    """
    language, score = _identifier().classify(text[:SAMPLE_CHARACTERS])
    return language, round(score, 4)


def fault(language: str, languages: Sequence[str]) -> str:
    """Why a text in that language is not wanted; "" where it is."""
    return "" if ALL in languages or language in languages else f"not-{'-'.join(languages)}"


def check(languages: Sequence[str]) -> None:
    """UsageError for a language that the model does not know, which would drop every document."""
    for language in languages:
        if language not in ("en", ALL) and language not in _identifier().labels:
            known = " ".join(sorted(_identifier().labels))
            raise UsageError(f"--languages {language} is not known; there are {ALL} {known}")

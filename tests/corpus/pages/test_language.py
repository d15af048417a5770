import pytest

from wholegpt.corpus.pages import language
from wholegpt.errors import UsageError


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "The river rises in the hills and runs to the sea, and nobody has ever measured it."),
        ("de", "Der Fluss entspringt in den Hügeln und fließt ins Meer, und niemand hat ihn je vermessen."),
        ("fr", "La rivière prend sa source dans les collines et court vers la mer; personne ne l'a mesurée."),
        ("ru", "Река берёт начало в горах и течёт к морю, и никто её никогда не измерял."),
        ("ja", "川は丘から流れ出て海に注ぐ。誰もそれを測ったことがない。"),
    ],
)
def test_languages(code, text):
    found, score = language.identify(text)
    assert found == code
    assert 0.5 < score <= 1


def test_little_text_gives_little_certainty():
    assert language.identify("1 2 3")[1] < 0.5
    assert language.identify("")[1] < 0.5


def test_an_unknown_language_is_an_error():
    language.check(["en", "all", "de", "ja"])
    with pytest.raises(UsageError, match="--languages english is not known"):
        language.check(["en", "english"])

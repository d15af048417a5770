"""Each reader on small files written for it in the set's exact format, and on what is wrong with such files."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets import (
    cbt,
    cnn_dailymail,
    coqa,
    hutter,
    lambada,
    newstest,
    nq_open,
    sentences,
    wikitext,
    winograd,
)
from wholegpt.evalsets.stored import Stored


@pytest.fixture
def file(tmp_path):
    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Stored(path)

    return write


def refuses(read, *files):
    with pytest.raises(WholeGPTError) as caught:
        list(read(*files))
    sentence = str(caught.value)
    assert str(files[0].path) in sentence and "\n" not in sentence
    return sentence


def test_lambada(file):
    passage, other = lambada.read(file('{"text": "\\"No,\\" he\\nsaid to Ann"}\n{"text": "a  b"}\n'))
    assert (passage.context, passage.target) == ('"No," he\nsaid to', " Ann")
    assert other.context + other.target == other.text == "a  b"
    assert "line 1: found NoneType as `text`" in refuses(lambada.read, file('{"texts": ""}'))
    assert "line 2: the text does not end in" in refuses(lambada.read, file('{"text": "a b"}\n{"text": "word"}\n'))
    assert "line 1: the text does not end in" in refuses(lambada.read, file('{"text": "a b "}'))


STORY = "".join(f"{number} Sentence {number} .\n" for number in range(1, 21))
QUESTION = "21 The XXXXX ran , too .\tdog\t\tcat|dog|Mr. Fox\n"


def test_cbt(file):
    first, second = cbt.read(file(f"{STORY}{QUESTION}\n{STORY}{QUESTION}"))
    assert first == second
    assert first.context == tuple(f"Sentence {number} ." for number in range(1, 21))
    assert (first.question, first.candidates, first.answer) == ("The XXXXX ran , too .", ("cat", "dog", "Mr. Fox"), 1)
    assert first.filled("Mr. Fox") == ("The ", "Mr. Fox ran , too .")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (STORY, "line 20: the file ends after 20 of 21 lines"),
        (STORY + "\n", "line 21: an example of 20 lines, expected 21"),
        (STORY.replace("\n8 ", "\n9 ") + QUESTION, "line 8: found '9' at its start, expected 8"),
        (STORY + QUESTION.replace("\t\t", "\t"), "line 21: found 3 tab-separated fields"),
        (STORY + QUESTION.replace("XXXXX", "fox"), "line 21: the question has no XXXXX"),
        (STORY + QUESTION.replace("\tdog\t", "\tfox\t"), "line 21: the answer 'fox' is not among the candidates"),
    ],
)
def test_cbt_faults(file, content, sentence):
    assert sentence in refuses(cbt.read, file(content))


def test_wikitext(file):
    text = (
        " \n = One = \n \n A <unk> of one , \n = a is no heading = \n \n"
        " \n = Two = \n \n = = Part = = \n \n Text \u2028 . \n"
    )
    articles = list(wikitext.read(file(text)))
    assert "".join(article.text for article in articles) == text
    assert [article.text.split("\n")[1] for article in articles] == [" = One = ", " = Two = "]
    # = One = | A <unk> of one , | = a is no heading = : 3 + 5 + 6 words; 2 + 10 + 2 + 19 + 22 + 2 bytes
    assert articles[0].counts() == {"bytes": 57, "lines": 6, "words": 14, "unknown": 1}
    assert [article.text for article in wikitext.read(file("no heading"))] == ["no heading"]
    assert list(wikitext.read(file(""))) == []


def test_sentences(file):
    text = " no <unk> at N \n the  end \n\nlast"
    found = list(sentences.read(file(text)))
    assert "".join(sentence.text for sentence in found) == text
    assert [sentence.words for sentence in found] == [4, 2, 0, 1]
    assert found[0].counts() == {"bytes": 16, "words": 4, "unknown": 1}


def test_hutter(file, monkeypatch):
    monkeypatch.setattr(hutter, "TEST_BYTES", 70_000)
    data = bytes(range(256)) * 1_000
    (tail,) = hutter.read(file(data))
    assert (tail.data, tail.start) == (data[-70_000:], 256_000 - 70_000)
    (short,) = hutter.read(file("ab c\xe9"))
    assert (short.data, short.counts()) == (
        "ab c\xe9".encode(),
        {"bytes": 6, "file_bytes": 6, "outside_a_to_z": 2},
    )
    assert "is empty" in refuses(hutter.read, file(b""))


XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<collection>
<schema><text><txt1>Ann saw the dog because</txt1><pron> she </pron><txt2> barked at
 it. </txt2></text><answers><answer>Ann</answer><answer> The dog </answer></answers>
<correctAnswer> B.  </correctAnswer></schema>
<schema><text><txt1></txt1><pron>His</pron><txt2>dog saw Tom.</txt2></text>
<answers><answer>The man</answer><answer>Jos\xe9</answer></answers><correctAnswer>A </correctAnswer></schema>
<schema><text><txt1>Tom left.</txt1><pron>He</pron><txt2>, too.</txt2></text>
<answers><answer>The man</answer><answer>Tom</answer></answers><correctAnswer>A</correctAnswer></schema>
</collection>"""


def test_winograd(file):
    schemas = list(winograd.read(file(XML.encode("latin1"), "a.xml")))
    assert [schema.answer for schema in schemas] == [1, 0, 0]
    assert [reading.sentence for schema in schemas for reading in schema.readings()] == [
        "Ann saw the dog because Ann barked at it.",
        "Ann saw the dog because the dog barked at it.",
        "The man's dog saw Tom.",
        "Jos\xe9's dog saw Tom.",
        "Tom left. The man, too.",
        "Tom left. Tom, too.",
    ]
    assert schemas[0].readings()[1].context == "Ann saw the dog because the dog"
    assert schemas[0].readings()[1].continuation == " barked at it."


def test_winograd_text(file):
    record = "Ann saw the dog because [MASK]  barked. \n[MASK]\nAnn ,The dog \nThe dog \n\n"
    first, second = winograd.read(file(record * 2, "a.txt"))
    assert first == second == winograd.Schema("Ann saw the dog because", "", "barked.", ("Ann", "The dog"), 1)
    assert len(list(winograd.read(file(record * 300, "a.txt")))) == 273
    assert "line 6: expected a sentence with [MASK]" in refuses(winograd.read, file(record + "No mask\n", "a.txt"))
    assert "line 1: expected" in refuses(winograd.read, file(record.replace("\nThe dog", "\nThe cat"), "a.txt"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<collection><schema>", "is not XML that can be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><collection/>', "defines entities"),
        (XML.replace("B.", "C.").replace("ISO-8859-1", "UTF-8"), "schema 1: expected a pronoun in a text"),
        (XML.replace("<answer>Tom</answer>", "").replace("ISO-8859-1", "UTF-8"), "schema 3: expected a pronoun"),
    ],
)
def test_winograd_faults(file, content, sentence):
    assert sentence in refuses(winograd.read, file(content, "a.xml"))


def conversation(**changes):
    turns = {"questions": ["Who?", "Where?"], "answers": ["Ann", "home"]}
    listed = {
        key: [{"input_text": text, "turn_id": number} for number, text in enumerate(texts, start=1)]
        for key, texts in turns.items()
    }
    record = {"source": "cnn", "id": "7", "story": "Ann is home.", **listed,
              "additional_answers": {"0": listed["answers"], "1": listed["answers"]}}  # fmt: skip
    return json.dumps({"version": "1.0", "data": [{**record, **changes}]})


def test_coqa(file):
    (read,) = coqa.read(file(conversation()))
    assert read == coqa.Conversation(
        "7", "cnn", "Ann is home.", (coqa.Turn("Who?", ("Ann",) * 3), coqa.Turn("Where?", ("home",) * 3))
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "expected an object with `data`"),
        ('{"data": [1]}', "story 1: found int, expected an object"),
        (conversation(story=None), "story 1: found NoneType as `story`, expected a string"),
        (conversation(answers=[]), "story 1: 2 questions and [0, 2, 2] answers to them"),
        (conversation(questions=[{"input_text": "Who?", "turn_id": 2}]), "the turns are not numbered 1 to 1"),
        (conversation(questions="Who?"), "expected lists of objects"),
        (conversation(additional_answers=[]), "found list as `additional_answers`"),
    ],
)
def test_coqa_faults(file, content, sentence):
    assert sentence in refuses(coqa.read, file(content))


def test_nq_open(file):
    (read,) = nq_open.read(file('{"question": "who wrote it", "answer": ["Ann", "Ann B."]}\n'))
    assert read == nq_open.Question("who wrote it", ("Ann", "Ann B."))
    assert "line 1: expected a list of strings" in refuses(nq_open.read, file('{"question": "a", "answer": []}'))
    assert "line 1: found int as `question`" in refuses(nq_open.read, file('{"question": 1, "answer": ["a"]}'))


def sgm(kind, texts):
    segments = "\n".join(f'<seg id="{number}">{text}</seg>' for number, text in enumerate(texts, start=1))
    return (
        f'<{kind} setid="newstest2014" srclang="any">\n<doc docid="a.b-c" genre="news">\n<p>\n{segments}\n</p></doc>\n'
    )


def test_newstest_sgm(file):
    english = file(sgm("srcset", ["A &amp; B", "two\nlines"]), "a.en.sgm")
    french = file(sgm("refset", ["A &amp; B", "\xab deux lignes \xbb"]), "a.fr.sgm")
    assert list(newstest.read(english, french)) == [
        newstest.Pair("A & B", "A & B"),
        newstest.Pair("two lines", "\xab deux lignes \xbb"),
    ]
    other = file(sgm("refset", ["one"]), "b.fr.sgm")
    assert "2 and 1 segments" in refuses(newstest.read, english, other)
    assert "has no <seg id=...>" in refuses(newstest.read, file("text", "c.sgm"), french)


def test_newstest_lines(file):
    pairs = newstest.read(file("One. \n Two.\n", "a.en"), file("Un.\nDeux.\n", "a.fr"))
    assert list(pairs) == [newstest.Pair("One.", "Un."), newstest.Pair("Two.", "Deux.")]
    assert "2 and 1 segments" in refuses(newstest.read, file("1\n2\n", "a.en"), file("1\n", "a.fr"))


STORIES = {
    "http://web.archive.org/1": (
        '(CNN)Ann left \u2014 at last\n\n"Why?"\n\n@highlight\n\nAnn left\n\n@highlight\n\nNobody knew!\n'
    ),
    "http://web.archive.org/2": "Bob came.\n\n@highlight\n\nBob came\n",
}
ARTICLES = [
    ('(CNN)Ann left \u2014 at last . "Why?"', ("Ann left .", "Nobody knew!")),
    ("Bob came.", ("Bob came .",)),
]


def name_of(address):
    return hashlib.sha1(address.encode()).hexdigest()


def test_cnn_dailymail_archives(tmp_path, file):
    one, two = STORIES
    for archive, address in (("cnn", two), ("dailymail", one)):
        with tarfile.open(tmp_path / f"{archive}_stories.tgz", "w:gz") as opened:
            for name, text in ((name_of(address), STORIES[address]), ("0" * 40, "not listed")):
                entry = tarfile.TarInfo(f"{archive}/stories/{name}.story")
                entry.size = len(text.encode())
                opened.addfile(entry, io.BytesIO(text.encode()))
    archives = [Stored(tmp_path / f"{name}_stories.tgz") for name in ("cnn", "dailymail")]
    found = list(cnn_dailymail.read_archives(file(f"{one}\n{two}\n", "all_test.txt"), *archives))
    assert [(article.text, article.highlights) for article in found] == ARTICLES
    assert found[0].id == name_of(one)
    listed = file(f"{one}\nhttp://elsewhere\n", "all_test.txt")
    assert "1 of the 2 stories" in refuses(cnn_dailymail.read_archives, listed, *archives)


def test_cnn_dailymail_stories(file):
    _, two = STORIES
    files = [file(text, f"{name_of(address)}.story") for address, text in STORIES.items()]
    assert [(article.text, article.highlights) for article in cnn_dailymail.read_stories(*files)] == ARTICLES
    listed = file(f"{two}\n", "all_test.txt")
    assert [article.id for article in cnn_dailymail.read_stories(listed, *files)] == [name_of(two)]
    assert "found no @highlight" in refuses(cnn_dailymail.read_stories, file("Text.\n", "a.story"))


def test_cnn_dailymail_rows(tmp_path, file):
    rows = [{"id": "7", "article": "Ann left.", "highlights": "Ann left .\nNobody knew ."},
            {"id": "8", "article": "Bob came.", "highlights": "Bob came ."}]  # fmt: skip
    expected = [cnn_dailymail.Article("7", "Ann left.", ("Ann left .", "Nobody knew .")),
                cnn_dailymail.Article("8", "Bob came.", ("Bob came .",))]  # fmt: skip
    jsonl = file("".join(json.dumps(row) + "\n" for row in rows), "test.jsonl")
    assert list(cnn_dailymail.read_jsonl(jsonl)) == expected
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    assert list(cnn_dailymail.read_parquet(Stored(tmp_path / "test.parquet"))) == expected
    assert list(cnn_dailymail.read_jsonl(file('{"article": "a", "highlights": ["b", "c"]}', "l.jsonl"))) == [
        cnn_dailymail.Article("", "a", ("b", "c"))
    ]
    assert "line 1: expected a string or a list" in refuses(cnn_dailymail.read_jsonl, file('{"article": "a"}'))
    assert "is not a parquet file" in refuses(cnn_dailymail.read_parquet, file(b"PAR1 nothing PAR1"))
    parquet.write_table(pyarrow.Table.from_pylist([{"text": "a"}]), tmp_path / "b.parquet")
    assert "row 1: found NoneType as `article`" in refuses(cnn_dailymail.read_parquet, Stored(tmp_path / "b.parquet"))


def test_real_winograd(shared: Path):
    """Both files have the same right answers; the first 30 readings are lm-evaluation-harness's."""
    folder = shared / "eval" / "wsc273"
    xml = list(winograd.read(Stored(folder / "WSCollection.xml")))
    text = list(winograd.read(Stored(folder / "wsc273.txt")))
    assert len(xml) == len(text) == 273

    def right(schema):
        return schema.candidates[schema.answer].lower().replace(" ", "").removesuffix("'s")

    assert sum(right(one) == right(other) for one, other in zip(xml, text, strict=True)) == 273
    items = json.loads((shared / "fixtures/trained/expected/winograd.json").read_text())["items"]
    assert len(items) == 30
    for schema, item in zip(xml, items, strict=False):
        assert schema.answer == item["gold"]
        assert [reading.context for reading in schema.readings()] == item["contexts"]
        assert {reading.continuation for reading in schema.readings()} == {item["continuation"]}


def test_real_fixtures(shared: Path):
    folder = shared / "eval"
    (talk,) = coqa.read(Stored(folder / "coqa" / "FIXTURE-coqa-dev-v1.0.json"))
    assert (talk.source, len(talk.turns), {len(turn.answers) for turn in talk.turns}) == ("mctest", 12, {4})
    found = [next(cbt.read(Stored(path))) for path in sorted((folder / "cbt").glob("*.txt"))]
    assert [example.candidates[example.answer] for example in found] == ["man", "dog", "Keddah", "Chuck"]
    assert all(len(example.candidates) == 10 for example in found)

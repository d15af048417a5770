"""The page: escaped, self-contained, and without the sections that were not given."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from wholegpt.artifact import read_manifest
from wholegpt.errors import WholeGPTError
from wholegpt.inference.generate import GenerateOptions, generate
from wholegpt.model import checkpoint
from wholegpt.report.page import ReportOptions, report
from wholegpt.zeroshot.evaluate import EvaluateOptions, evaluate


def test_page_of_samples_alone(model, tokenizer, tmp_path):
    (tmp_path / "model").mkdir()
    checkpoint.save(tmp_path / "model", model, tokenizer)
    generate(
        GenerateOptions(tmp_path / "model", ("<script>alert(1)</script>",), tmp_path / "samples", max_new_tokens=3)
    )
    report(ReportOptions((tmp_path / "samples",), tmp_path / "report"))
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "src=" not in page and "@import" not in page and "url(" not in page
    assert "<h2>Samples</h2>" in page and "<h2>Corpus</h2>" not in page
    assert "124,439,808" in page and "35.13" in page


@pytest.fixture(scope="module")
def everything(run):
    """All artifacts of a path: corpus, tokenizer, shards, run, results, samples."""
    evaluate(EvaluateOptions(run, run.parent / "results"))
    generate(GenerateOptions(run, ("The river & <b>",), run.parent / "samples", max_new_tokens=3))
    return tuple(run.parent / name for name in ("corpus", "tokenizer", "shards", "run", "results", "samples"))


def page_of(artifacts, output):
    report(ReportOptions(tuple(artifacts), output))
    return (output / "index.html").read_text(encoding="utf-8")


def test_figures_of_every_stage(everything, tmp_path):
    page = page_of(everything, tmp_path / "report")
    manifests = {path.name: read_manifest(path) for path in everything}
    figures = manifests["results"]["counts"]["heldout"]
    assert f"{figures['bits_per_byte,none']:.2f} bits per byte on text it has not seen" in page
    for shown in (
        f"{manifests['corpus']['counts']['train']['bytes']:,}",
        f"{manifests['shards']['counts']['val']['tokens']:,}",
        f"{manifests['run']['counts']['parameters']:,}",
        manifests["run"]["outputs"]["model.safetensors"]["sha256"][:16],
        f"{figures['token_perplexity,none']:,.3f}",
        "The river &amp; &lt;b&gt;",
        "gzip -9",
        "unigram",
    ):
        assert shown in page
    assert page.count("<svg") == 2
    for title in ("Corpus", "Tokenizer", "Training", "Held-out text", "Samples", "The paper beside it"):
        assert f"<h2>{title}</h2>" in page


def test_nothing_is_loaded_from_elsewhere(everything, tmp_path):
    page = page_of(everything, tmp_path / "report")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!data:|#)[^"'\s>]+""", page)
    assert not re.findall(r"url\((?!#)", page)
    for loaded in ("<script", '<link rel="stylesheet"', "@import", "<iframe", "<img", "<object"):
        assert loaded not in page


def test_the_page_is_well_formed(everything, tmp_path):
    open_tags = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):  # noqa: ARG002 (the parser's)
            if tag not in ("meta", "link", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag, self.getpos()

    Checker().feed(page_of(everything, tmp_path / "report"))
    assert not open_tags


@pytest.mark.parametrize(
    ("left_out", "title"),
    [("corpus", "Corpus"), ("run", "Training"), ("results", "Held-out text"), ("samples", "Samples")],
)
def test_a_section_whose_artifact_is_missing_is_left_out(everything, tmp_path, left_out, title):
    page = page_of([path for path in everything if path.name != left_out], tmp_path / "report")
    assert f"<h2>{title}</h2>" not in page
    assert page.count("<h2>") == 7  # of eight


@pytest.mark.parametrize("name", ["corpus", "tokenizer", "shards", "run", "results", "samples"])
def test_each_artifact_alone(everything, tmp_path, name):
    page = page_of([path for path in everything if path.name == name], tmp_path / "report")
    assert "35.13" in page


def test_figures_without_a_number(everything, tmp_path, run):
    """A text without white space may have an endless perplexity per word."""
    shutil.copytree(run.parent / "results", tmp_path / "results")
    path = tmp_path / "results" / "heldout.json"
    content = json.loads(path.read_text())
    content["results"]["heldout"]["word_perplexity,none"] = "infinite: more than a float holds"
    path.write_text(json.dumps(content))
    page = page_of([*everything[:4], tmp_path / "results"], tmp_path / "report")
    assert "bits per byte on text it has not seen" in page
    assert "perplexity per word</dt>" not in page


def test_what_no_report_can_show(everything, tmp_path, run):
    with pytest.raises(WholeGPTError, match="is no directory that wholegpt wrote"):
        report(ReportOptions((tmp_path,), tmp_path / "report"))
    page_of(everything, tmp_path / "first")
    with pytest.raises(WholeGPTError, match="a report cannot show what `report` wrote"):
        report(ReportOptions((run, tmp_path / "first"), tmp_path / "report"))
    assert not (tmp_path / "report").exists()

"""The page: escaped, self-contained, and without the sections that were not given."""

from wholegpt.inference.generate import GenerateOptions, generate
from wholegpt.model import checkpoint
from wholegpt.report.page import ReportOptions, report


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

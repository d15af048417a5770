"""The whole path at the smallest size: every stage is there, a second call does nothing, a changed text remakes."""

import json

from wholegpt import cli

RECIPE = """
n_layer = 1
n_head = 2
n_embd = 16
n_ctx = 32
batch_size = 2
steps = 6
warmup_steps = 2
evaluate_every = 3
sample_every = 3
save_every = 2
threads = 1
precision = "float32"
optimizer = "muon"
"""


def test_demo_end_to_end(tmp_path, text, capsys):
    (tmp_path / "own.txt").write_text(text, encoding="utf-8")
    (tmp_path / "r.toml").write_text(RECIPE)
    command = ["demo", "--text", str(tmp_path / "own.txt"), "-o", str(tmp_path / "demo"), "--vocab-size", "300",
               "--recipe", str(tmp_path / "r.toml")]  # fmt: skip
    assert cli.run(command) == 0
    assert capsys.readouterr().out.endswith("index.html\n")
    stages = {"corpus", "tokenizer", "shards", "run", "results", "samples", "report"}
    assert {path.name for path in (tmp_path / "demo").iterdir()} == stages
    metrics = [json.loads(line) for line in (tmp_path / "demo" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics if "loss" in line] == [1, 2, 3, 4, 5, 6]
    results = json.loads((tmp_path / "demo" / "results" / "heldout.json").read_text())
    assert 0 < results["results"]["heldout"]["bits_per_byte,none"] < results["baselines"]["uniform"] * 1.5
    page = (tmp_path / "demo" / "report" / "index.html").read_text(encoding="utf-8")
    assert "bits per byte" in page

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*")}
    assert cli.run(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*")}

    (tmp_path / "own.txt").write_text(text + "\n\nAnother paragraph.", encoding="utf-8")
    assert cli.run(command) == 0
    assert (tmp_path / "demo" / "report" / "index.html").stat().st_mtime_ns > max(before.values())

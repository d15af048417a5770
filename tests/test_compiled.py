"""Kernels: never imported before they are needed, never from a stale cache, and not needed at all."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wholegpt import compiled


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_importing_the_package_and_its_help_import_no_numba() -> None:
    code = "import sys, wholegpt, wholegpt.tokenizer, wholegpt.cli; wholegpt.cli.run(['--help'])"
    code += "; sys.exit(bool({'numba', 'torch'} & set(sys.modules)))"
    assert python(code).returncode == 0


def test_encoding_imports_no_torch() -> None:
    code = "import sys, wholegpt; print(wholegpt.Tokenizer.load('gpt2').encode('Hello world'), 'torch' in sys.modules)"
    assert python(code).stdout == "[15496, 995] False\n"


BLOCKED = """
import sys
sys.modules["numba"] = None
from wholegpt.tokenizer import Tokenizer
from wholegpt.tokenizer.learning import count_pieces, learn
gpt2 = Tokenizer.load("gpt2")
print(gpt2.encode("Hello world"), [ids.tolist() for ids in gpt2.encode_batch(["a b", "é"], threads=2)])
print(gpt2.encode_documents([b"Hello world"]).tolist(), gpt2.count_words([b"Hello world"]))
print(learn(count_pieces(["aab aab"]), 258)[1])
"""


def test_without_numba_the_twin_does_the_work_with_one_warning() -> None:
    found = python(BLOCKED)
    assert found.returncode == 0, found.stderr
    normal = python(BLOCKED.replace('sys.modules["numba"] = None', ""))
    assert normal.returncode == 0, normal.stderr
    assert found.stdout == normal.stdout
    assert found.stdout.startswith("[15496, 995]")
    assert found.stderr.count("numba cannot be imported") == 1
    assert "numba" not in normal.stderr


def test_the_cache_has_another_name_when_any_kernel_file_changes(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    files = [tmp_path / "kernel_memory.py", tmp_path / "room" / "kernel.py"]
    for file in files:
        file.write_text("one")
    (tmp_path / "other.py").write_text("one")
    names = [compiled.sources_hash(tmp_path)]
    for file in files:
        file.write_text("two")
        names.append(compiled.sources_hash(tmp_path))
    files[1].rename(tmp_path / "room" / "kernel_other.py")
    names.append(compiled.sources_hash(tmp_path))
    assert len(set(names)) == 4
    (tmp_path / "other.py").write_text("two")
    assert compiled.sources_hash(tmp_path) == names[-1]


def test_only_kernel_files_compile_and_they_import_nothing_else_of_ours() -> None:
    """Otherwise the hash would miss a source of machine code."""
    for file in compiled.PACKAGE.rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
        if file.name.startswith("kernel"):
            ours = {name for name in imported if name.startswith("wholegpt")}
            assert all(name.rsplit(".", 1)[1].startswith("kernel") for name in ours - {"wholegpt.compiled"}), file
        else:
            assert not {name for name in imported if name.split(".")[0] in ("numba", "llvmlite")}, file


def test_machine_code_lies_in_the_folder_of_these_sources(tmp_path: Path) -> None:
    code = "import wholegpt; print(wholegpt.Tokenizer.load('gpt2').encode('Hello world'))"
    assert python(code, WHOLEGPT_HOME=str(tmp_path)).stdout == "[15496, 995]\n"
    folders = [path.name for path in tmp_path.glob("kernels-*")]
    assert folders == [f"kernels-{compiled.sources_hash()}"]
    assert list(tmp_path.rglob("*.nbc"))


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = "import wholegpt; print(wholegpt.Tokenizer.load('gpt2').encode('Hello world'))"
    found = python(code, WHOLEGPT_HOME=str(tmp_path / "file" / "home"))
    assert found.stdout == "[15496, 995]\n", found.stderr
    assert not list(compiled.PACKAGE.rglob("*.nbc"))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_spread_keeps_the_order_and_passes_errors_on(workers: int) -> None:
    assert list(compiled.spread(lambda number: number * 2, range(100), workers)) == list(range(0, 200, 2))
    with pytest.raises(ZeroDivisionError):
        list(compiled.spread(lambda number: 1 // (50 - number), range(100), workers))

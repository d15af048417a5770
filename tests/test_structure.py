"""The plan of the house, checked: imports run one way and in no circle, and light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import wholegpt

SOURCE = Path(wholegpt.__file__).parent
# A room imports only rooms that stand before it.
ROOMS = [
    "errors", "progress", "ranks", "paper", "artifact", "documents", "sources", "compiled", "kernel_memory", "ngrams",
    "evalsets", "runner",
    "corpus", "tokenizer", "model", "inference",
    "training", "info", "zeroshot", "report",
]  # fmt: skip
LEAVES = {"info", "zeroshot", "report"}
ON_TOP = {"demo", "cli", "__init__", "__main__"}


def imports(file: Path) -> set[str]:
    """The rooms of this package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "wholegpt":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wholegpt."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("wholegpt.")}
    return {name for name in found if not name.startswith("__")}


def arrows() -> list[tuple[str, str, Path]]:
    result = []
    for file in sorted(SOURCE.rglob("*.py")):
        room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room not in ON_TOP:
            result += [(room, target, file) for target in imports(file) if target != room]
    return result


def test_every_room_has_its_place():
    rooms = {file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in SOURCE.rglob("*.py")}
    assert rooms - ON_TOP == set(ROOMS)


def test_arrows_run_one_way():
    assert len(arrows()) > 20
    back = [
        f"{file.name}: {room} -> {target}"
        for room, target, file in arrows()
        if ROOMS.index(target) >= ROOMS.index(room)
    ]
    assert not back


def test_leaves_can_be_deleted():
    assert not [arrow for arrow in arrows() if arrow[1] in LEAVES and arrow[0] not in LEAVES]
    assert not [arrow for arrow in arrows() if arrow[:2] in {("report", "zeroshot"), ("zeroshot", "report")}]


def test_no_circle_within_a_room():
    for room in SOURCE.iterdir():
        if not room.is_dir() or room.name.startswith("_"):
            continue
        needs = {}
        for file in room.rglob("*.py"):
            name = ".".join(file.relative_to(room).with_suffix("").parts).removesuffix(".__init__")
            tree = ast.parse(file.read_text(encoding="utf-8"))
            froms = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
            modules = {node.module or "" for node in froms}
            modules |= {f"{node.module}.{alias.name}" for node in froms for alias in node.names}
            prefix = f"wholegpt.{room.name}."
            needs[name] = {name.removeprefix(prefix) for name in modules if name.startswith(prefix)}
        done: set[str] = set()
        while len(done) < len(needs):
            free = {name for name in needs.keys() - done if needs[name] & needs.keys() <= done | {name}}
            assert free, f"a circle among {sorted(needs.keys() - done)} in {room.name}"
            done |= free


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(sys.modules), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


def test_importing_the_package_loads_nothing_heavy():
    loaded = loaded_by("import wholegpt")
    assert not loaded & {"torch", "numba", "numpy", "tyro", "rich", "matplotlib"}


def test_help_loads_nothing_heavy():
    loaded = loaded_by("from wholegpt.cli import run\nrun(['--help'])")
    assert not loaded & {"torch", "numba", "numpy", "tyro", "rich", "matplotlib"}


def test_tokenizing_needs_no_torch():
    loaded = loaded_by("import wholegpt; wholegpt.Tokenizer")
    assert "torch" not in loaded

"""What a corpus says of itself: tables of hosts, languages and lengths, and a card for those who get it.

Hosts, languages and lengths are counted by DuckDB over the finished files, in bounded memory.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wholegpt import __version__, artifact
from wholegpt.runner import relational

TEMPLATE = Path(__file__).with_name("card.md")
CARD, TABLES = "CARD.md", "tables.json"
# Rows of a table in the card, and of hosts in `tables.json`.
SHOWN, KEPT = 20, 1_000
MEMORY_BYTES = 1_000_000_000


def tables(folder: Path, state: Path) -> dict[str, list[list[Any]]]:
    """Rows (value, documents) of hosts, languages, lengths in characters (the powers of two below them), the most
    frequent or the shortest first."""
    with relational.connection(state, MEMORY_BYTES) as database:

        def rows(what: str, order: str) -> list[list[Any]]:
            files = f"read_parquet('{_quoted(folder / 'part-*.parquet')}')"
            query = (
                f"SELECT {what} AS value, count(*) AS documents FROM {files} GROUP BY 1 ORDER BY {order} LIMIT {KEPT}"
            )
            return [list(row) for row in database.execute(query).fetchall()]

        return {
            "hosts": rows("coalesce(host, '')", "documents DESC, value"),
            "languages": rows("coalesce(language, '')", "documents DESC, value"),
            "lengths": rows("cast(pow(2, floor(log2(length(text)))) AS BIGINT)", "value"),
        }


def card(
    counts: dict[str, dict[str, int]], funnel: Sequence[dict[str, Any]], found: dict[str, Any], inputs: Sequence[str],
    contact: str,
) -> str:  # fmt: skip
    """The text of `CARD.md`."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        version=__version__,
        date=datetime.now(UTC).date().isoformat(),
        parts=_rows([part, *(of[name] for name in ("documents", "bytes", "words"))] for part, of in counts.items()),
        sources="\n".join(f"- `{name}`" for name in inputs),
        stages=_rows(
            [row["stage"], row["in"], row["out"], ", ".join(f"{why} {n:,}" for why, n in row["reasons"].items())]
            for row in funnel
        ),
        hosts=_rows([host or "(none)", count] for host, count in found["hosts"][:SHOWN]),
        languages=_rows([language or "(not asked)", count] for language, count in found["languages"][:SHOWN]),
        contact=contact or "nobody named; build with `--contact` to say whom to ask.",
    )


def write(folder: Path, state: Path, counts: dict[str, dict[str, int]], funnel: Sequence[dict[str, Any]],
          inputs: Sequence[str], contact: str) -> None:  # fmt: skip
    """Write `tables.json` and `CARD.md`."""
    found = tables(folder, state)
    artifact.write_json(folder / TABLES, found)
    artifact.write_bytes(folder / CARD, card(counts, funnel, found, inputs, contact).encode())


def _rows(rows: Any) -> str:
    return "\n".join(
        "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) + " |" for row in rows
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")

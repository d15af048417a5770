"""Many submissions at once: what `Sieve.sift` says of each, with the plain ones as columns."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wholegpt.corpus.submissions import url_batches
from wholegpt.corpus.submissions.rules import Link, Sieve, Submission, unescaped

LINK = pa.schema(
    [
        ("key", pa.uint64()),  # the first half of the digest; ranges of it are the partitions
        ("key_rest", pa.uint64()),
        ("url", pa.string()),
        ("host", pa.string()),
        ("score", pa.int64()),
        ("created", pa.int64()),
        ("subreddit", pa.string()),
        ("id", pa.string()),
    ]
)


# By reason.
Rejects = dict[str, list[Submission]]
# Fewer submissions are not worth the second that numba takes to be loaded.
LEAST_BATCH = 2**12


def sift(sieve: Sieve, submissions: Sequence[Submission]) -> tuple[pa.Table, Rejects]:
    """What `sieve.sift` says of each, faster: the links, in no order, and the others with their reasons."""
    if len(submissions) < LEAST_BATCH:
        return _singly(sieve.sift, submissions)
    least, since, until = sieve.least, sieve.rule.since, sieve.rule.until
    plain: list[Submission] = []
    rest: list[Submission] = []
    low: list[Submission] = []
    for one in submissions:
        score, created, url = one.score, one.created_utc, one.url
        special = one.is_self or one.over_18 or one.crosspost_parent or not url
        if special or score is None or type(created) is not int or not since <= created < until:
            rest.append(one)
        elif score >= least:
            plain.append(one)
        elif url and url.startswith(("http://", "https://")):
            low.append(one)
        else:
            rest.append(one)
    given = [unescaped(one.url or "") for one in plain]
    urls = pa.array(given, pa.string())
    batch = url_batches.normalise(urls) if plain else None
    if batch is None:
        return _singly(sieve.sift, submissions)
    changed = [number for number, url in enumerate(given) if len(url) != len(plain[number].url or "")]
    sieve.counts["escaped"] += int(batch.plain[changed].sum())
    others, rejects = _singly(sieve.sift, rest + [plain[number] for number in np.flatnonzero(~batch.plain)])
    rejects["karma"] += low
    reasons, codes = _reasons(sieve, batch)
    for number in np.flatnonzero(codes > 0):
        rejects[reasons[codes[number]]].append(plain[number])
    keys = np.frombuffer(b"".join(batch.digests), ">u8").reshape(-1, 2)
    columns = [keys[:, 0].astype(np.uint64), keys[:, 1].astype(np.uint64), urls, batch.hosts]
    columns += [[one.score for one in plain], [one.created_utc for one in plain]]
    columns += [[one.subreddit or "" for one in plain], [one.id or "" for one in plain]]
    links = pa.table([pa.array(column, field.type) for column, field in zip(columns, LINK, strict=True)], schema=LINK)
    return pa.concat_tables([links.filter(pa.array(codes == 0)), others]), rejects


def sift_listed(sieve: Sieve, submissions: Sequence[Submission]) -> tuple[pa.Table, Rejects]:
    """The same of lines of a list of URLs, one by one."""
    return _singly(sieve.sift_listed, submissions)


def _singly(sift: Callable[[Submission], Link | str], submissions: Sequence[Submission]) -> tuple[pa.Table, Rejects]:
    links: list[Link] = []
    rejects: Rejects = defaultdict(list)
    for one in submissions:
        found = sift(one)
        if isinstance(found, str):
            rejects[found].append(one)
        else:
            links.append(found)
    return _table(links), rejects


def _table(links: Sequence[Link]) -> pa.Table:
    if not links:
        return LINK.empty_table()
    digests, *columns = zip(*links, strict=True)
    keys = np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2)
    return pa.table([keys[:, 0].astype(np.uint64), keys[:, 1].astype(np.uint64), *columns], schema=LINK)


def _reasons(sieve: Sieve, batch: url_batches.Batch) -> tuple[list[str], NDArray[np.int64]]:
    """Reasons against pages, and for each row of a batch the number of its own: 0 where there is none, -1 where the
    row is not plain."""
    reasons = ["", "wikipedia", "blocked-host", "extension"]
    encoded = batch.hosts.dictionary_encode()
    of_hosts = [reasons.index(sieve.reason_of_host(host)) for host in encoded.dictionary.to_pylist()]
    codes = np.array([*of_hosts, 0], np.int64)[encoded.indices.to_numpy()]
    is_media = np.isin(batch.endings, url_batches.words(sieve.rule.extensions))
    codes[(codes == 0) & is_media] = reasons.index("extension")
    codes[~batch.plain] = -1
    return reasons, codes

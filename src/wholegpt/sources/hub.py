"""What only huggingface_hub knows of the Hub: its cache, its addresses (HF_ENDPOINT), tokens and versions.

The bytes themselves come through download.py: huggingface_hub begins a file anew after its process was killed. The
package is the extra `hub`; without it the Hub is left out.
"""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from wholegpt.sources.download import Broken, Patience, Unreachable, persist, reason
from wholegpt.sources.table import Host

_PASSING = {408, 429, 500, 502, 503, 504}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Located:
    """A file of a repository in one version of it."""

    url: str
    version: str
    """The commit; of a later file it is asked for by this."""
    sha256: str | None
    """As the Hub states it of large files."""
    headers: dict[str, str]
    """The user's token, if there is one."""


def installed() -> bool:
    """Whether the extra `hub` is there."""
    return importlib.util.find_spec("huggingface_hub") is not None


def offline() -> bool:
    """Whether HF_HUB_OFFLINE, or its older name TRANSFORMERS_OFFLINE, forbids the network."""
    said = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}


def page(repository: str) -> str:
    """The address of a repository for people."""
    return f"{os.environ.get('HF_ENDPOINT') or 'https://huggingface.co'}/{repository}"


def cached(host: Host) -> Path | None:
    """The folder of the Hub's cache (HF_HOME) that holds all files of a repository; None if there is none."""
    if not installed():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(host.address, file.name) for file in host.files]
    folders = {Path(path).parent for path in found if isinstance(path, str)}
    whole = len(folders) == 1 and all(isinstance(path, str) for path in found)
    return folders.pop() if whole else None


def stated_sha256(path: Path) -> str | None:
    """The hash that the Hub's cache gives a large file as its name; None for everything else."""
    blob = (
        path.readlink() if path.is_symlink() else path
    )  # one step: where a blob is itself a link, it has another name
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else None


def locate(repository: str, name: str, version: str, patience: Patience) -> Located:
    """Where a file is to be downloaded from; Unreachable where the Hub does not say."""
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    asked = hf_hub_url(repository, name, revision=version)

    def ask() -> Located:
        try:
            metadata = get_hf_file_metadata(asked, timeout=patience.connect_seconds)
        except HfHubHTTPError as error:
            status = f"the host answered {error.response.status_code} {error.response.reason_phrase}".strip()
            if error.response.status_code in _PASSING:
                raise Broken(status) from None
            raise Unreachable(f"{asked}: {status}") from None
        except Exception as error:  # its HTTP library is another in each major version
            raise Broken(reason(error)) from None
        commit = metadata.commit_hash or version
        stated = metadata.etag if metadata.etag and _SHA256.fullmatch(metadata.etag) else None
        token = get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return Located(hf_hub_url(repository, name, revision=commit), commit, stated, headers)

    return persist(asked, ask, patience)

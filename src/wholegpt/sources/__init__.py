"""Named downloads: released vocabulary and weights, and where they are looked for before the network.

table.py      what there is: files, hashes, hosts, licences
places.py     our cache, the mirror, a package, the Hub's cache; the check of every file; the download
download.py   one file over HTTP, resumed after a break
hub.py        what only huggingface_hub knows
verbs.py      `wholegpt data list|fetch|verify`
"""

from wholegpt.sources.places import fetch, home, source_of
from wholegpt.sources.table import ALIASES, SOURCES, File, Host, Source

__all__ = ["ALIASES", "SOURCES", "File", "Host", "Source", "fetch", "home", "source_of"]

"""The test sets of section 3 in their official formats: text in, examples out; no scoring and no model.

stored.py          a file as it lies there: plain, .gz, .zst, a member of a zip or tar archive
lambada.py cbt.py wikitext.py sentences.py hutter.py winograd.py coqa.py cnn_dailymail.py newstest.py nq_open.py
                   one reader each
sets.py            what each set is: its files, and the counts by which it is known
finding.py         where a set is: a folder that the user names, our cache, the mirror, the official download
"""

from wholegpt.evalsets.finding import Found, find
from wholegpt.evalsets.sets import SETS

__all__ = ["SETS", "Found", "find"]

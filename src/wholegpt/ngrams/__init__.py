"""Normalised n-grams of words and MinHash (section 4): what `corpus` and `overlap` share.

words.py     text to lower-cased alphanumeric words; many texts as one array of bytes
hashing.py   the hashes of n-grams, and how alike sets of them are
minhash.py   keys by which alike texts meet
index.py     texts searched for the n-grams of others
kernel.py    all of it compiled; each file above has its readable twin
"""

from wholegpt.ngrams.hashing import Grams, distinct, jaccard, ngram_hashes
from wholegpt.ngrams.index import Index
from wholegpt.ngrams.minhash import Bands, band_keys
from wholegpt.ngrams.words import Texts, words

__all__ = ["Bands", "Grams", "Index", "Texts", "band_keys", "distinct", "jaccard", "ngram_hashes", "words"]

"""Normalised n-grams of words and MinHash (section 4): what `corpus` and `overlap` share.

words.py     text to lower-cased alphanumeric words; many texts as one array of bytes
hashing.py   the hashes of n-grams, and how alike sets of them are
minhash.py   keys by which alike texts meet
index.py     texts held against the n-grams of others
kernel.py    all of it compiled; each file above has the readable twins
"""

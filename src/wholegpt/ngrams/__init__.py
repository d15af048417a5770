"""Normalised n-grams of words and MinHash (section 4): what `corpus` and `overlap` share."""

"""The model of section 2.3 and its files: gpt.py is the mathematics, checkpoint.py the directory it is kept in."""

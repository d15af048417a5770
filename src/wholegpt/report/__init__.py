"""The report: one self-contained page made from result files only; no other room knows that it exists."""

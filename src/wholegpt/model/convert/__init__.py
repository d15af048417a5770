"""Other people's checkpoints, in and out: one file a format, each a table from their keys to ours."""

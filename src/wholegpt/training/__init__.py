"""Training (section 2): token shards, the order in which they are read, optimizers, and the loop."""

"""Evaluation without any training for the task (section 3): tasks, metrics, and the verbs `evaluate` and `score`."""

"""Of copies and near copies one document stays: the stages of `corpus build` that compare all with all."""

"""MNTD: a classifier of classifiers, which reads the logits of a few tuned images."""

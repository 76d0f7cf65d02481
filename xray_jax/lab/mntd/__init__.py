"""Trains the meta-classifier of MNTD: shadow models, half of them poisoned at random, and queries tuned on them."""

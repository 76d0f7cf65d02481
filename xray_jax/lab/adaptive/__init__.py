"""Attackers who know the scanner: each trains a backdoor so that one kind of detector does not see it."""

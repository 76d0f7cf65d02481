"""Rows as pages for people: an overview, a page a model, opened from disk and without a network."""

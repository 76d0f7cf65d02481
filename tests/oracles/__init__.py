"""Torch re-statements of the published networks: the published attribute names, forward passes in our own words."""

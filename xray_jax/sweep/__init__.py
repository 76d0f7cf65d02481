"""Batch scans: lists of checkpoints, shards, the pipeline that scans them, Ray."""

"""Checkpoints that lie elsewhere: hubs, buckets and web servers, listed, fetched within limits, and kept in a cache."""

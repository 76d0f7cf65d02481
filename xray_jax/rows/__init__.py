"""Rows: what a batch scan says of each checkpoint, typed; row files; shards merged."""

"""One whole run: of a list of checkpoints, of one model in this process, or as a gate."""

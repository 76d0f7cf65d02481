"""Coverage-guided fuzzing of everything that reads a hostile file.

    python -m tests.fuzz --reader=npz --seconds=1800 --corpus=DIR

`targets` says what is read and how bytes become a file, `watch` what counts as a finding, `corpora` where inputs are
kept, `fuzzer` is the process in which atheris searches, `__main__` the command that keeps it running. `test_corpus`
replays what is kept here, without atheris.
"""

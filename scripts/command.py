"""What every command shares: absl flags with honest exit codes.

absl exits with 1 for a usage error and Python does for a crash; here 1 is a finding, so usage errors exit with 4 and
anything unforeseen with 2.
"""

import sys
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags, logging

EXIT_ERROR, EXIT_USAGE = 2, 4


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        rest = flags.FLAGS(list(argv), known_only=False)
    except flags.Error as error:
        print(f"{argv[0].rsplit('/', 1)[-1]}: {error}\nPass --help for the flags.", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    except SystemExit:
        # The only way out of parsing is --help, which absl counts as a failure.
        sys.exit(0)
    if rest[1:]:
        print(f"{argv[0].rsplit('/', 1)[-1]}: unexpected arguments {rest[1:]}; all inputs are flags", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    if flags.FLAGS["verbosity"].using_default_value:
        # absl turns INFO on for programs right after parsing, for the root logger too: jax would name each accelerator
        # that this machine lacks, and orbax writes dozens of lines a checkpoint.
        logging.set_verbosity(logging.WARNING)
    return rest


def run(main: Callable[[], int]) -> None:
    """Runs `main` and exits with its code; a ValueError is a usage error, an OSError an error, both one line."""

    def guarded(_: Sequence[str]) -> int:
        name = sys.argv[0].rsplit("/", 1)[-1]
        try:
            return main()
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return EXIT_USAGE
        except OSError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return EXIT_ERROR
        except KeyboardInterrupt:
            print(f"{name}: interrupted; start the same command again to go on", file=sys.stderr)
            return 130
        except Exception:
            traceback.print_exc()
            return EXIT_ERROR

    app.run(guarded, flags_parser=_parse)

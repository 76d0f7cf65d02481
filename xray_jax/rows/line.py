"""One line of a row file, read: a row, or what is wrong with it."""

import json

from xray_jax.rows.row import Row
from xray_jax.rows.upgrade import SchemaError, upgrade

START = b'{"id":'
"""How every line begins; what else is found in a file is somebody's own."""


class ResultsError(OSError):
    """Rows cannot be read or written; the message names the file and says what to do."""


class TornLineError(ResultsError):
    """The last line of a file is cut off: a scan is writing it, or was killed. Those before it are whole."""


def parse(line: bytes, where: str, file: str | None = None) -> Row:
    """The row of a line.

    Args:
      line: with its newline, unless it is the last of a file and cut off.
      where: the line is, for messages.
      file: the file's name, for messages that are of all of it.

    Raises:
      TornLineError: the line begins as rows do, or is of zeros, and ends without a newline, too soon.
      ResultsError: the line is no JSON object, or a row of a later schema.
    """
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ResultsError(f"{file or where}: not a text file of JSON rows ({error})") from error
    except (ValueError, RecursionError) as error:
        # ValueError is of numbers with more digits than Python reads, too.
        # Where a machine stopped, a file system may have kept the length of a row and not its bytes.
        if not line.endswith(b"\n") and (line[: len(START)] == START[: len(line)] or not line.strip(b"\0")):
            raise TornLineError(
                f"{where} is torn: a scan is writing it or was cut off; started again, the same scan goes on from there"
            ) from error
        raise ResultsError(f"{where} is no JSON row ({error}); is this a row file?") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ResultsError(f"{where} is no row of this tool (it has no `id`, or one that is no text)")
    try:
        return upgrade(row)
    except SchemaError as error:
        raise ResultsError(f"{where}: {error}") from error

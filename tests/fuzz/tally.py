"""What searches said, reader by reader, as a table in Markdown.

    python -m tests.fuzz.tally RESULTS

`RESULTS`: the lines that `python -m tests.fuzz` printed, of any number of searches.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path


def table(lines: list[str]) -> str:
    """Minutes, inputs and inputs that were opened are sums, edges the most that one search reached."""
    sums: defaultdict[str, dict[str, int]] = defaultdict(lambda: {"seconds": 0, "runs": 0, "opened": 0, "edges": 0})
    for line in lines:
        said = json.loads(line)
        row = sums[said["reader"]]
        for name in ("seconds", "runs", "opened"):
            row[name] += said[name]
        row["edges"] = max(row["edges"], said["edges"])
    rows = [
        f"| `{reader}` | {row['seconds'] / 60:.1f} | {row['runs']:,} | {row['opened']:,} | {row['edges']:,} |"
        for reader, row in sorted(sums.items())
    ]
    return "\n".join(("| reader | minutes | inputs | opened | edges |", "|---|---|---|---|---|", *rows))


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text().splitlines()))

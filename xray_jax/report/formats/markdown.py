"""Markdown for pull requests and job summaries: what was found first, errors by reason, and the rest folded away."""

from collections import Counter
from typing import IO

from xray_jax.report.row_source import Rows
from xray_jax.report.row_values import kind_of_reason
from xray_jax.report.sentences import explanation, outcome
from xray_jax.report.terminal_text import cut_end, cut_middle, printable
from xray_jax.rows.row import BACKDOORED, CLEAN, ERROR, SKIPPED, SUSPECT, UNKNOWN

_ORDER = (BACKDOORED, SUSPECT, UNKNOWN, ERROR, CLEAN, SKIPPED)
_MOST = 50
_MOST_REASONS = 20
_LONGEST_NAME, _LONGEST_TEXT = 80, 300
_PLAIN = frozenset("-., ;:()%/=")


def write(rows: Rows, file: IO[bytes]) -> None:
    """One pass; holds no more rows than it lists."""
    counts, reasons = Counter[str](), Counter[str]()
    listed: dict[str, list[str]] = {name: [] for name in _ORDER}
    for row in rows:
        found = outcome(row)
        counts[found] += 1
        if found in (ERROR, SKIPPED):
            reasons[f"{found}: {kind_of_reason(row)}"] += 1
        if len(listed[found]) < _MOST:
            listed[found].append(f"| {name(row['id'])} | {found} | {escape(explanation(row))} |")
    lines = [f"### {heading(counts)}", "", _table(counts), ""]
    for found in (BACKDOORED, SUSPECT, UNKNOWN):
        lines += _section(found, listed[found], counts[found])
    if reasons:
        lines += ["**Not scanned**", "", "| checkpoints | why |", "|---:|---|"]
        lines += [f"| {count} | {escape(reason)} |" for reason, count in reasons.most_common(_MOST_REASONS)]
        lines += [f"| ... | and {len(reasons) - _MOST_REASONS} other reasons |"] * (len(reasons) > _MOST_REASONS)
        lines.append("")
    for found in (CLEAN, ERROR):
        if listed[found]:
            lines += [f"<details><summary>{counts[found]} {found}</summary>", ""]
            lines += [*_section(None, listed[found], counts[found]), "</details>", ""]
    file.write("\n".join(lines).encode())


def heading(counts: Counter[str]) -> str:
    """The outcome in one line, the worst first."""
    flagged = counts[BACKDOORED] + counts[SUSPECT]
    total = counts.total()
    of = f"of {total} checkpoint{'s' if total != 1 else ''}"
    parts = [f"{flagged} {of} flagged" if flagged else f"Nothing flagged {of.replace('of', 'among', 1)}"]
    if counts[ERROR]:
        parts.append(f"{counts[ERROR]} could not be scanned")
    if counts[UNKNOWN]:
        parts.append(f"{counts[UNKNOWN]} without a verdict")
    return ", ".join(parts)


def name(checkpoint_id: str) -> str:
    """A checkpoint's name as code, in one cell of a table."""
    return f"<code>{escape(cut_middle(printable(checkpoint_id), _LONGEST_NAME))}</code>"


def escape(text: str) -> str:
    """Text that Markdown and HTML show as it is: what either could read as its own becomes a character reference."""
    shown = cut_end(printable(text), _LONGEST_TEXT)
    kept = "".join(c if c.isalnum() or c in _PLAIN else f"&#{ord(c)};" for c in shown)
    # An address in plain text is made a link, and a name a mention, after references are resolved.
    return kept.replace("&#64;", "&#64;&#8203;").replace("://", "&#58;&#8203;//").replace("www.", "www&#8203;.")


def _table(counts: Counter[str]) -> str:
    present = [found for found in _ORDER if counts[found]]
    if not present:
        return "No checkpoint."
    lines = (present, ["---:"] * len(present), [str(counts[found]) for found in present])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _section(found: str | None, lines: list[str], count: int) -> list[str]:
    if not lines:
        return []
    head = [] if found is None else [f"**{found.capitalize()}**", ""]
    rest = [f"| ... | | and {count - len(lines)} more |"] * (count > len(lines))
    return [*head, "| checkpoint | verdict | what was found |", "|---|---|---|", *lines, *rest, ""]

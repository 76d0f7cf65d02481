"""The repository's pages, cut into what tests look at: code blocks, spans of code, links, headings, tables."""

import re
from functools import cache
from pathlib import Path

from tests.places import ROOT
from tests.source_imports import files

INCLUDED = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages of the root that the site shows as its own, where a relative link would lead elsewhere."""
PAGES = tuple(name for name in files() if name.endswith(".md"))
"""All of them; none where git does not list them."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return [match[2] for match in _FENCE.finditer(text(page)) if match[1] == language]


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text(page))


def spans(page: str) -> list[str]:
    """Code inside of paragraphs, `like this`, on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`((?:[^`\n]|\n(?!\n))+)`", prose(page))]


def command_lines(page: str) -> list[str]:
    """Lines of shell that start an `xray-` command, those continued by a backslash as one, from its name on."""
    shell = [re.sub(r"\\\n\s*", "", block) for block in blocks(page, "sh")]
    lines = [line for block in shell for line in block.splitlines()] + spans(page)
    return [line[match.start() :] for line in lines if (match := re.search(r"\bxray-\w+", line))]


def links(page: str) -> list[str]:
    """Targets of links and pictures that are not addresses of the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))
    return [target for target in found if "://" not in target]


def anchors(page: str) -> set[str]:
    """What a link to a heading ends in, as GitHub and MkDocs make it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def section(page: str, heading: str) -> str:
    """What stands under a heading of any depth, up to the next one of that depth or a lower one."""
    marks, rest = re.split(rf"^(#+) {re.escape(heading)}$", text(page), flags=re.MULTILINE)[1:]
    return re.split(rf"^#{{1,{len(marks)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows of the tables under a heading, without their code marks."""
    rows = [
        line.strip().strip("|").split("|") for line in section(page, heading).splitlines() if line.startswith("| `")
    ]
    return [[cell.strip().strip("`") for cell in row] for row in rows]


def path(page: str, target: str) -> Path:
    """The file that a relative link leads to."""
    return (ROOT / page).parent / target

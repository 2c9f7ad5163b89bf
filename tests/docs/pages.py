"""The pages of the documentation as the tests read them: fenced blocks, links, headings, tables.

A comment on the line before a block says what becomes of it. Readers do not see it.

    ```python                          executed; the unmarked blocks of a page share one namespace
    <!-- script --> ```python          executed as a program of its own, which worker processes can import
    <!-- file: NAME --> ```python      saved as NAME, for the commands of the page
    <!-- run --> ```console            its commands, after `$ `, are run; what follows each is its output
    <!-- output --> ```text            what the block before it prints

In an expected output `...` stands for anything.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for folder in ("", "tutorials", "how-to") for page in (ROOT / "docs" / folder).glob("*.md")),
]

_FENCED = re.compile(
    r"^(?:<!-- (?P<marker>[^\n]+?) -->\n)?```(?P<language>[\w{}-]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str
    marker: str
    line: int
    """The number of its first line of text in the page."""


class Command(NamedTuple):
    """A command of a console block, and what it is to print."""

    line: str
    output: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text()
    return [
        Block(found["language"], found["text"], found["marker"] or "", text.count("\n", 0, found.start("text")) + 1)
        for found in _FENCED.finditer(text)
    ]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCED.sub("", page.read_text())


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block."""
    found = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [Command(*one.split("\n", 1)) for one in found]


def links(page: Path) -> list[str]:
    """Return where a page points to."""
    return [found["target"] for found in _LINK.finditer(prose(page))]


def headings(page: Path) -> list[str]:
    """Return the text of the headings of a page."""
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


def anchor(heading: str) -> str:
    """Return the fragment that leads to a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def section(page: Path, heading: str) -> list[Block]:
    """Return the fenced blocks below one heading, up to the next."""
    text = page.read_text()
    begin = text.index(f"# {heading}\n")
    end = text.find("\n#", begin)
    first, last = text.count("\n", 0, begin), text.count("\n", 0, end) if end >= 0 else text.count("\n")
    return [block for block in blocks(page) if first < block.line <= last]


def table(page: Path, first_column: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this title, as the text of their cells."""
    lines = page.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def matches(expected: str, printed: str) -> bool:
    """Return whether this was printed; `...` in what is expected stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.rstrip().split("..."))
    return re.fullmatch(pattern, printed.rstrip(), re.DOTALL) is not None

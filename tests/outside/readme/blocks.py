"""The README as data: its headings, its fenced blocks, and the code within its sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).resolve().parents[3] / "README.md"
FENCE = "```"
HEADING = re.compile(r"(#+) (.*)")
CODE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """One fenced block; `heading` is the one that it stands under."""

    heading: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which it is called."""
        return self.text.partition("\n")[0]


class Readme(NamedTuple):
    """All of it; `prose` is what stands outside of the blocks."""

    headings: list[tuple[int, str]]
    blocks: list[Block]
    prose: str


def read() -> Readme:
    """The README as it is."""
    headings: list[tuple[int, str]] = []
    blocks: list[Block] = []
    prose: list[str] = []
    block: list[str] | None = None
    for line in README.read_text(encoding="utf-8").splitlines():
        if line.startswith(FENCE):
            if block is None:
                block = []
            else:
                blocks.append(Block(headings[-1][1], "\n".join(block) + "\n"))
                block = None
        elif block is not None:
            block.append(line)
        else:
            prose.append(line)
            found = HEADING.match(line)
            if found:
                headings.append((len(found.group(1)), found.group(2)))
    return Readme(headings, blocks, "\n".join(prose))


def said(first: str) -> str:
    """The block that begins with this line, word by word."""
    found = {block.text for block in read().blocks if block.first == first}
    if len(found) != 1:
        raise AssertionError(f"README.md has {len(found)} blocks that begin with {first!r}")
    return found.pop()


def code(prose: str) -> list[str]:
    """What stands between backticks, line breaks taken for blanks."""
    return [" ".join(found.split()) for found in CODE.findall(prose)]

"""The README as data: its headings, its fenced blocks, and the code within its sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).resolve().parents[3] / "README.md"
FENCE = "```"
HEADING = re.compile(r"(#+) (.*)")
CODE = re.compile(r"`([^`]+)`")
COMMAND = re.compile(
    r"([A-Z]+=\S+ )?"
    r"(hub\.pyz|make|docker|su|ssh|systemctl|journalctl|crontab|curl|rm|nginx|caddy)( |$)"
)
PATTERNS = frozenset({"hub.pyz", "hub.pyz ...", "docker exec hub python3 /opt/hub.pyz"})
"""Half a command, or the file."""
NOT_RUN = {
    "make test": "the run that tests/test_readme.py is part of",
    "make e2e": "the run that tests/outside is part of",
    "make crash": "a part of .ci/run of its own",
    "make crash FULL=1": "takes hours",
    "SEED=N make crash": "a pattern: the seed is printed",
    "make test-all": "a part of .ci/run of its own",
    "make lint": "a part of .ci/run of its own",
    "make image": "makes another image than the README's; run by hand",
    "make bench": "takes minutes, and its figures are the README's own",
    "make e2e-restarters": "a part of .ci/run of its own",
    "make e2e-sources": "a part of .ci/run of its own",
    "hub.pyz upgrade --self": "for another hub: tests/outside/sources does",
    "hub.pyz survey": "for another hub: tests/outside/sources does",
    "hub.pyz hook": "half a command: tests/outside/sources types it whole",
    "hub.pyz serve": "run as python3 dist/hub.pyz serve, and by the unit",
    "hub.pyz serve --factory": "tests/e2e/test_factory.py does",
    "hub.pyz unit": "half a command",
    "hub.pyz unit install": "half a command, root's: server.py types it whole",
    "hub.pyz unit logs": "root's: server.py, in the block",
    "hub.pyz unit restart": "root's: test_proxies.py, in the block",
    "hub.pyz unit status": "test_unit.py does",
    "systemctl edit parachute-hub": "opens an editor; test_unit.py writes such a file",
    "crontab -e": "opens an editor; what is written there is installed by crontab FILE",
    "crontab -r": "run with -u, in the block that it explains",
}
"""The commands that no test here types as they are, and why."""


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


def commands(readme: Readme) -> list[str]:
    """What stands in a sentence and could be typed."""
    spans = dict.fromkeys(code(readme.prose))
    return [span for span in spans if COMMAND.match(span) and span not in PATTERNS]


def code(prose: str) -> list[str]:
    """What stands between backticks, line breaks taken for blanks."""
    return [" ".join(found.split()) for found in CODE.findall(prose)]

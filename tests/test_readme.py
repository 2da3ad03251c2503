"""The README as a text: its order, its links, and that whatever it tells to type is run by a test
or is named here with the reason why not. `tests/outside/readme` runs it."""

from __future__ import annotations

import json
import re
import unittest
from pathlib import Path

from hub_upgrade.__main__ import COMMANDS
from hub_upgrade.domain import managed
from hub_upgrade.domain.managed import Managed
from tests.e2e.harness import build, cli
from tests.outside.readme.blocks import NOT_RUN, Readme, code, commands, read

ROOT = Path(__file__).resolve().parent.parent
TYPING = "".join(
    path.read_text()
    for where in ("readme/test_*.py", "sources/test_readme_*.py")
    for path in (ROOT / "tests" / "outside").glob(where)
)
"""The tests that type what stands there; those that begin with hub.pyz are typed by one that takes
them from the README."""
ORDER = [
    "The two commands", "A picture", "Install", "On a server", "The unit",
    "In a container",
    "Behind nginx or Caddy", "From a laptop, by an SSH tunnel", "How an upgrade works",
    "What can happen to it", "How to go back", "What it never does by itself",
    "Looking after another hub", "Ship your own service with it", "Configuration",
    "Signing in, and tokens", "Where the logs are", "How to remove it", "Who writes what in home",
    "Decisions where the contract is silent", "How it is built", "Tests", "What was measured",
    "What does not work yet",
]  # fmt: skip
FILES = {
    "In a container": "Dockerfile",
    "Behind nginx or Caddy": "nginx.conf Caddyfile",
    "Ship your own service with it": "service/server.js",
}
"""Which files of examples/ stand in which section, word by word."""
LINKED = frozenset({"compose.yaml", "fly.toml", "kubernetes.yaml", "render.yaml"})
"""Those that it leads to: their comments say the rest."""
NOT_TYPED = (
    "# /etc/", "# A base, and six lines", " POST ──>", "// A service", '{"hub": ',
    "python3 hub.pyz helper --op ID",
)  # fmt: skip
"""How the blocks begin that are files, diagrams or patterns."""
NOT_OURS = frozenset({"--format", "--health-cmd", "--start-period", "--timeout", "--version"})
"""Flags of docker and of build_pyz.py."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


class ReadmeTest(unittest.TestCase):
    readme: Readme

    @classmethod
    def setUpClass(cls) -> None:
        cls.readme = read()

    def test_it_has_its_order(self) -> None:
        titles = [title for _level, title in self.readme.headings]
        self.assertEqual([title for title in titles if title in ORDER], ORDER)

    def test_every_link_leads_somewhere(self) -> None:
        anchors = {
            re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            for _level, title in self.readme.headings
        }
        links = re.findall(r"\]\(([^)]+)\)", self.readme.prose)
        self.assertIn("docs/page.png", links)
        for link in links:
            if link.startswith("#"):
                self.assertIn(link[1:], anchors)
            else:
                self.assertTrue((ROOT / link).is_file(), link)

    def test_the_examples_stand_in_it_word_by_word(self) -> None:
        named = set()
        for heading, files in FILES.items():
            texts = [block.text for block in self.readme.blocks if block.heading == heading]
            for name in files.split():
                named.add(name.partition("/")[0])
                self.assertIn((ROOT / "examples" / name).read_text(), texts, name)
        for name in LINKED:
            self.assertIn(f"](examples/{name})", self.readme.prose)
        there = {path.name for path in (ROOT / "examples").iterdir()}
        self.assertEqual(named | LINKED | {"tour.py"}, there)

    def test_the_example_of_a_managed_hub_is_well_formed_and_says_the_defaults(self) -> None:
        text = next(block.text for block in self.readme.blocks if block.first[:8] == '{"hub": ')
        found, problems = managed.parse(json.loads(text)["hub"])
        self.assertEqual((found, problems), (Managed("package", "bun"), []))
        service = json.loads((ROOT / "examples" / "service" / "hub.json").read_text())
        self.assertEqual(managed.parse(service["hub"])[1], [])
        self.assertIn(f"`{json.dumps(service)}`", " ".join(self.readme.prose.split()))

    def test_every_block_is_typed_by_a_test(self) -> None:
        for block in self.readme.blocks:
            if not block.first.startswith(NOT_TYPED):
                quoted = re.compile(r"""(["']{1,3})""" + re.escape(block.first) + r"\1")
                self.assertTrue(quoted.search(TYPING), f"no test types the block {block.first!r}")

    def test_every_command_in_a_sentence_is_typed_by_a_test_or_excused(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        named = commands(self.readme)
        self.assertEqual(set(), set(NOT_RUN) - set(named), "excused, and not there")
        for command in named:
            if "make " in command:
                target = command.partition("make ")[2].split()[0]
                self.assertIn(f"\n{target}:", makefile)
            if command not in NOT_RUN and not command.startswith("hub.pyz "):
                typed = TYPING + "".join(block.text for block in self.readme.blocks)
                self.assertIn(command, typed)

    def test_every_flag_there_is_one(self) -> None:
        program = build("1.0.0")
        helps = {name: cli(program, name, "--help").stdout for name in COMMANDS if name != "run"}
        text = "\n".join((*code(self.readme.prose), *(b.text for b in self.readme.blocks)))
        for line in re.findall(r"hub\.pyz ([a-z]+)([^\n`']*)", text):
            for flag in FLAG.findall(line[1]):
                if line[0] in helps and flag not in NOT_OURS:
                    self.assertIn(flag, helps[line[0]], line)
        known = " ".join((*helps.values(), *NOT_OURS, "--help"))
        for span in code(self.readme.prose):
            if span.startswith("--"):
                self.assertIn(span.split()[0], known)


if __name__ == "__main__":
    unittest.main()

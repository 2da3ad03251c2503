"""bun and npm: packages in a global `node_modules`, and npm's registry."""

from __future__ import annotations

import json
import os
import shutil
import tempfile

from hub_upgrade.domain.versions import told
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import files
from hub_upgrade.host.commands import Result
from hub_upgrade.shapes import Any
from hub_upgrade.sources.rewriter import PackageSource, Resolved, find
from hub_upgrade.sources.trees import Layout

NOISE = ("code ", "errno ", "syscall ", "path ", "network This is", "A complete log")
"""How lines of npm's begin that do not say what went wrong."""


class NodeSource(PackageSource):
    """What both do alike."""

    absent: tuple[bytes, ...] = ()
    """What the tool says of a package, tag or version that the registry does not have."""

    def modules(self) -> str:
        """The real path of the global `node_modules`."""
        raise NotImplementedError

    def ask(self, wanted: str) -> Result:
        """Ask the registry for what is known of one tag or version, as JSON."""
        raise NotImplementedError

    def directory(self) -> str:
        """The package's own; a link there leads to a checkout, which is no package."""
        path = os.path.join(self.modules(), self.package)
        if os.path.islink(path):
            raise RefusedError(
                "linked_package",
                f"{path} is a link to {os.path.realpath(path)}: {self.name} would put a package in "
                "its place; nothing was changed",
            )
        return path

    def version_on_disk(self) -> str:
        """As its package.json says."""
        path = os.path.join(self.modules(), self.package, "package.json")
        return _text(files.read_json(path), "version") or ""

    def resolve(self, channel: str, version: str | None) -> Resolved:
        """As the port says; the digest is `dist.integrity`."""
        tags = (self._view("latest") or self._view("rc") or {}).get("dist-tags")
        latest, rc = _text(tags, "latest"), _text(tags, "rc")
        wanted, note = self.pinned(channel, version, latest, rc)
        found = self._view(wanted)
        if found is None or told(found["version"]) != wanted:
            raise self.refusal(wanted, latest, rc)
        return Resolved(wanted, _text(found.get("dist"), "integrity") or "", note)

    def _view(self, wanted: str) -> Any:
        """What the registry says of one tag or version; None where it has none."""
        result = self.ask(wanted)
        try:
            answer = json.loads(result.stdout)
        except ValueError:
            answer = None
        if result.status == 0 and isinstance(answer, dict) and "version" in answer:
            return answer
        said = result.stdout + result.stderr
        if (result.status, said.strip()) == (0, b"") or any(words in said for words in self.absent):
            return None
        why = result.killed() or self.words_of(result)
        raise HostError(f"{self.name} could not ask its registry for {self.package}: {why}")


class BunSource(NodeSource):
    """`bun add -g` with BUN_INSTALL as the prefix."""

    name = "bun"
    absent = (b'"No matching version found"', b'"Dist-tag not found"', b"\n404 Not Found: ")

    def modules(self) -> str:
        return os.path.join(self._global(), "node_modules")

    def _global(self) -> str:
        return os.path.realpath(os.path.join(self.prefix, "install", "global"))

    def beside(self) -> str:
        return os.path.dirname(self._global())

    def layout(self) -> Layout:
        """All global packages: they have one lock file, and share what they depend on."""
        self.directory()
        return Layout(self._global(), os.path.realpath(self.prefix), self.beside())

    def tool(self) -> list[str]:
        own = os.path.join(self.prefix, "bin", "bun")
        return find("bun", own, os.path.expanduser("~/.bun/bin/bun"))

    def settings(self) -> dict[str, str]:
        """The place that runs is rewritten, whatever a bunfig.toml names."""
        return {
            "BUN_INSTALL": self.prefix,
            "BUN_INSTALL_GLOBAL_DIR": os.path.join(self.prefix, "install", "global"),
            "BUN_INSTALL_BIN": os.path.join(self.prefix, "bin"),
        }

    def ask(self, wanted: str) -> Result:
        """`pm view` keeps no answer, unlike `add`, which believes one for five minutes."""
        return self.question(["pm", "view", f"{self.package}@{wanted}", "--json"])

    def install_words(self, version: str) -> list[str]:
        return ["add", "-g", "--no-progress", "--no-cache", f"{self.package}@{version}"]

    def words_of(self, result: Result) -> str:
        """`add` ends with "error: ..."; `pm view` says it on two lines."""
        lines = result.stderr.decode("utf-8", "replace").split("\n")
        errors = [line for line in lines if line.startswith("error: ")]
        return " ".join(" ".join(errors[-1:] or lines).split())[:500] or result.last_line()


class NpmSource(NodeSource):
    """`npm install -g` with the prefix."""

    name = "npm"
    absent = (b'"E404"',)

    def modules(self) -> str:
        return os.path.realpath(os.path.join(self.prefix, "lib", "node_modules"))

    def beside(self) -> str:
        return os.path.dirname(self.modules())

    def layout(self) -> Layout:
        """The package alone: what it depends on lies in it."""
        return Layout(self.directory(), os.path.realpath(self.prefix), self.beside())

    def tool(self) -> list[str]:
        return find("npm", os.path.join(self.prefix, "bin", "npm"))

    def ask(self, wanted: str) -> Result:
        """With an empty cache: npm answers from its own when the registry does not."""
        patience = ("--fetch-retries=2", "--fetch-retry-mintimeout=1000",
                    "--fetch-retry-maxtimeout=5000")  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="parachute-npm-") as cache:
            words = ["view", f"{self.package}@{wanted}", "version", "dist", "dist-tags"]
            return self.question([*words, "--json", "--cache", cache, *patience])

    def install_words(self, version: str) -> list[str]:
        quiet = ("--no-audit", "--no-fund", "--no-progress", "--no-update-notifier")
        where = ("--prefix", self.prefix, "--prefer-online")
        return ["install", "-g", *where, *quiet, f"{self.package}@{version}"]

    def words_of(self, result: Result) -> str:
        """The first line that says what it is about, without the stack below it."""
        mark = "npm error "
        lines = result.stderr.decode("utf-8", "replace").splitlines()
        told = [line[len(mark):].strip() for line in lines if line.startswith(mark)]
        telling = [line for line in told if line and not line.startswith(NOISE)]
        return telling[0][:500] if telling else result.last_line()

    def clear_litter(self) -> None:
        """A killed npm leaves the old directory as `.NAME-XXXXXXXX` beside the new one."""
        scope, name = os.path.split(os.path.join(self.modules(), self.package))
        for found in os.listdir(scope):
            if found.startswith(f".{name}-") and len(found) == len(name) + 10:
                shutil.rmtree(os.path.join(scope, found), ignore_errors=True)


def _text(told: object, name: str) -> str | None:
    """What an object of JSON says by that name, if it is a text."""
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, str) else None

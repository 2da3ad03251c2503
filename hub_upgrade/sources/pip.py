"""pip: a distribution in a Python environment, and a Python index.

Python writes versions by PEP 440; everywhere else here they are semantic. `1.2.0rc1` is read as
`1.2.0-rc.1`, `a1` and `b1` as `-alpha.1` and `-beta.1`, `1.2` as `1.2.0`; pip takes either form.
What has no such reading (epochs, four numbers, post and dev releases) is never chosen. The channel
`latest` is the highest release, `rc` the highest candidate, of those not yanked.
"""

from __future__ import annotations

import glob
import json
import os
import re

from hub_upgrade.domain.versions import channel_of, semantic, sort_key
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import commands, files
from hub_upgrade.host.commands import Result
from hub_upgrade.shapes import Any
from hub_upgrade.sources.rewriter import PackageSource, Resolved, find
from hub_upgrade.sources.trees import Layout

_AVAILABLE = "Available versions: "
_UNREACHED = "Could not fetch URL "
_ABSENT = ": 404 "
QUIET = ("--no-input", "--disable-pip-version-check")


class PipSource(PackageSource):
    """`PREFIX/bin/python -m pip`."""

    name = "pip"

    def version_on_disk(self) -> str:
        """As the distribution's METADATA says."""
        path = os.path.join(self._distribution(), "METADATA")
        for line in files.read_regular(path).decode("utf-8", "replace").splitlines():
            if line.startswith("Version:"):
                return line.partition(":")[2]
        return ""

    def resolve(self, channel: str, version: str | None) -> Resolved:
        """As the port says; the digest is that of the file that pip would install."""
        offered = self._offered()
        stable = max((one for one in offered if "-" not in one), key=sort_key, default=None)
        candidates = (one for one in offered if channel_of(one) == "rc")
        rc = max(candidates, key=sort_key, default=None)
        wanted, note = self.pinned(channel, version, stable, rc)
        digest = self._digest(wanted)
        if not digest and wanted not in offered:  # what was yanked is not listed, but is there
            raise self.refusal(wanted, stable, rc)
        return Resolved(wanted, digest, note)

    def _offered(self) -> set[str]:
        """The versions that the index has for this Python.

        pip passes over an index that does not answer, and says so only when asked for everything.
        """
        words = ["index", "versions", self.package, "--pre", "-vv", *QUIET]
        result = self.question(words)
        lines = result.stdout.decode("utf-8", "replace").splitlines()
        unreached = [line.strip() for line in lines if line.strip().startswith(_UNREACHED)]
        listed = [line for line in lines if line.startswith(_AVAILABLE)]
        broken = [line for line in unreached if _ABSENT not in line]
        if broken or not (listed or unreached):
            told = result.killed() or (broken[0][:500] if broken else self.words_of(result))
            raise HostError(f"pip could not ask its index for {self.package}: {told}")
        found = listed[-1][len(_AVAILABLE):].split(",") if listed else []
        return {version for version in map(semantic, map(str.strip, found)) if version}

    def _digest(self, version: str) -> str:
        """What tells the file of a version from any other, or "".

        Wheels alone: of anything else pip would run the code.
        """
        words = ["install", "--dry-run", "--report", "-", "--quiet", "--no-deps", *QUIET]
        words += ["--ignore-installed", "--only-binary", ":all:", f"{self.package}=={version}"]
        try:
            entry = json.loads(self.question(words).stdout)["install"][0]
            return f"sha256={entry['download_info']['archive_info']['hashes']['sha256']}"
        except (ValueError, LookupError, TypeError):
            return ""

    def install_words(self, version: str) -> list[str]:
        quiet = ("--progress-bar", "off", "--no-warn-script-location", "--no-color")
        return ["install", *QUIET, *quiet, f"{self.package}=={version}"]

    def layout(self) -> Layout:
        """The whole of site-packages: what the package depends on lies beside it."""
        distribution = self._distribution()
        tree = os.path.dirname(distribution)
        if self._is_linked(distribution):
            raise RefusedError(
                "linked_package",
                f"{self.package} in {tree} is a link to a checkout (an editable install): pip "
                "would put a package in its place; nothing was changed",
            )
        return Layout(tree, self.beside(), self.beside(), tuple(self.outside(tree)))

    def beside(self) -> str:
        return os.path.realpath(self.prefix)

    def tool(self) -> list[str]:
        own = (os.path.join(self.prefix, "bin", name) for name in ("python", "python3"))
        python = find(*own)
        return [*python, "-m", "pip"] if python else []

    def run(self, words: list[str], limit_s: float, sink: Any = None) -> Result:
        result = super().run(words, limit_s, sink)
        if result.status and b"No module named pip" in result.stderr:
            raise commands.missing(f"{result.last_line()}: install it first")
        return result

    def words_of(self, result: Result) -> str:
        """The last line that begins with "error: ", else the last of all, a traceback's end."""
        lines = map(str.strip, result.stderr.decode("utf-8", "replace").splitlines())
        errors = [line[7:] for line in lines if line[:7].lower() == "error: "]
        if errors and errors[-1] != "Exception:":
            return errors[-1][:500]
        return result.last_line()

    def _distribution(self) -> str:
        """The `.dist-info` of the package that is whole; raises FileNotFoundError for none."""
        for site in self._sites():
            for name in os.listdir(site):
                found = os.path.join(site, name)
                is_it = name.endswith(".dist-info") and _normal(name.partition("-")[0]) == _normal(
                    self.package
                )
                if is_it and os.path.isfile(os.path.join(found, "RECORD")):
                    return found
        raise FileNotFoundError(f"{self.package} is not installed below {self.prefix}")

    def _sites(self) -> list[str]:
        pattern = os.path.join(glob.escape(self.prefix), "lib*", "python3*", "*-packages")
        return sorted({os.path.realpath(site) for site in glob.glob(pattern)})

    def outside(self, tree: str) -> list[str]:
        """What the tree's distributions have below the prefix, but outside of it.

        RECORD tells, once pip was done; a killed one's commands are in entry_points.txt alone.
        """
        prefix, found = self.beside(), set()
        for distribution in glob.glob(os.path.join(glob.escape(tree), "*.dist-info")):
            named = [line.rpartition(",")[0].rpartition(",")[0]
                     for line in _lines(os.path.join(distribution, "RECORD"))
                     if line.startswith("../")]  # fmt: skip
            names = _commands(os.path.join(distribution, "entry_points.txt"))
            named += [os.path.join(prefix, "bin", name) for name in names]
            found |= {os.path.relpath(os.path.join(tree, path), prefix) for path in named}
        return [path for path in found
                if not path.startswith("../") and os.path.lexists(os.path.join(prefix, path))]

    def _is_linked(self, distribution: str) -> bool:
        try:
            told: Any = json.loads(
                files.read_regular(os.path.join(distribution, "direct_url.json"))
            )
            return bool(told["dir_info"]["editable"])
        except (OSError, ValueError, LookupError, TypeError):
            return False


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _commands(path: str) -> list[str]:
    """The names of the commands in an entry_points.txt."""
    section, found = "", []
    for line in _lines(path):
        name, mark, _ = line.partition("=")
        if line.startswith("["):
            section = line.strip()
        elif mark and section in ("[console_scripts]", "[gui_scripts]"):
            found.append(name.strip())
    return found


def _normal(name: str) -> str:
    """A distribution's name as names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

"""What bun, npm and pip have in common, each a Rewriter (upgrade/ports.py).

The exact version is asked of the registry that the tool itself is configured for, past its
caches, and only that version is installed. What the tool rewrites is kept aside before.
"""

from __future__ import annotations

import os
import shutil

from hub_upgrade.domain.installed import Installed
from hub_upgrade.domain.operation import TREE, Undo
from hub_upgrade.domain.versions import choose, is_version, told
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import commands
from hub_upgrade.host.children import environment
from hub_upgrade.host.commands import Result, Sink
from hub_upgrade.host.files import Unreadable
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.sources import trees
from hub_upgrade.sources.trees import Layout

RESOLVE_S = 60.0
"""For one question to a registry."""
SWAP_S = 900.0
QUIET = {"CI": "1", "NO_COLOR": "1", "TERM": "dumb"}
"""What keeps tools from asking, drawing and colouring."""


class Resolved(NamedTuple):
    """One exact release; `digest` is the registry's integrity value, or "" where it has none."""

    version: str
    digest: str
    note: str = ""


class PackageSource:
    """One package of one manager below one prefix; what differs is in the classes derived."""

    name = ""
    home = ""
    """Whose operations rewrite it, "" where none does."""

    def __init__(self, package: str, prefix: str) -> None:
        self.package = package
        self.prefix = prefix

    # --- what each manager says for itself ------------------------------------------------------

    def version_on_disk(self) -> str:
        """Raises OSError, Unreadable or ValueError where none can be read."""
        raise NotImplementedError

    def resolve(self, channel: str, version: str | None) -> Resolved:
        """As the port says."""
        raise NotImplementedError

    def install_words(self, version: str) -> list[str]:
        """The arguments of the tool that install this version."""
        raise NotImplementedError

    def layout(self) -> Layout:
        """What is rewritten. Raises RefusedError for what is no package, HostError for none."""
        raise NotImplementedError

    def beside(self) -> str:
        """Where it is kept."""
        raise NotImplementedError

    def tool(self) -> list[str]:
        """The tool, or [] where there is none."""
        raise NotImplementedError

    def settings(self) -> dict[str, str]:
        """What the tool's environment must say besides."""
        return {}

    def words_of(self, result: Result) -> str:
        """What a tool that failed says about it."""
        return result.last_line()

    def outside(self, tree: str) -> list[str]:  # noqa: ARG002 - links into it are found without
        """What belongs to the tree elsewhere below the prefix."""
        return []

    def clear_litter(self) -> None:
        """Remove what a killed tool left beside the package; never raises."""

    # --- the port -------------------------------------------------------------------------------

    def installed(self) -> Installed:
        """The version that the package on the disk bears, "" for none that can be read."""
        try:
            return Installed(told(self.version_on_disk()))
        except (OSError, Unreadable, ValueError):
            return Installed("")

    def keep(self, name: str, wanted: Undo | None = None) -> Undo:
        """Copy what the tool rewrites aside."""
        if not self.installed().version:
            raise HostError(
                f"{self.package} is not installed below {self.prefix}, or its version cannot be "
                "read: nothing was changed"
            )
        keeps = wanted.value if wanted else ""
        return Undo(TREE, trees.keep(self.layout(), name, keeps, self.home))

    def swap(self, resolved: Any, sink: Sink) -> None:
        """Install the one version. An exit of 0 is no proof of it: read `installed` back."""
        result = self.run(self.install_words(str(resolved.version)), SWAP_S, sink)
        if result.status != 0:
            why = result.killed() or self.words_of(result) or f"it ended with {result.status}"
            raise HostError(
                f"{self.name} could not install {self.package} {resolved.version}: {why}"
            )
        os.sync()  # none of the tools does

    def revert(self, undo: Undo, sink: Sink) -> str:
        """Put the copy in the place of whatever the tool left."""
        kept = self._kept(undo)
        if not kept:
            raise HostError(f"{undo.value[:200]} is nothing that was kept of {self.package}")
        sink(os.fsencode(f"putting back {self.package} from {kept}\n"))
        trees.put_back(kept, self.outside)
        self.clear_litter()
        sink(f"{self.package} {self.installed().version} is back\n".encode())
        return ""

    def has(self, undo: Undo) -> bool:
        """Whether the copy is there, whole and not yet put back."""
        return trees.is_kept(self._kept(undo))

    def discard(self, undo: Undo) -> None:
        """Remove the copy; never raises."""
        kept = self._kept(undo)
        if kept:
            try:
                trees.forget(kept)
            except OSError:
                pass  # the next keep removes it

    # --- for the classes derived ----------------------------------------------------------------

    def question(self, words: list[str]) -> Result:
        """Run the tool to ask a registry."""
        return self.run(words, RESOLVE_S)

    def run(self, words: list[str], limit_s: float, sink: Sink | None = None) -> Result:
        """Run the tool; raises HostError where there is none, or its time is over."""
        tool = self.tool()
        result = Result(commands.MISSING, b"", b"")
        if tool:
            env = {**environment(os.environ), **QUIET, **self.settings()}
            env.pop("FORCE_COLOR", None)
            result = commands.run([*tool, *words], limit_s, env, "/", sink)
        if result.status == commands.MISSING:
            raise commands.missing(self._missing(result.last_line()))
        if result.status is None:
            raise HostError(f"{self.name} took longer than {limit_s:g} s for {self.package}")
        return result

    def pinned(
        self, channel: str, version: str | None, latest: str | None, rc: str | None
    ) -> tuple[str, str]:
        """The one version that is meant, and a note; raises RefusedError."""
        if version:
            return told(version), ""
        for tag in (latest, rc) if channel == "rc" else (latest,):
            if tag is not None and not is_version(tag):
                raise RefusedError(
                    "no_such_version",
                    f"{self.name}'s registry offers {tag[:100]!r} of {self.package}, which is no "
                    "semantic version: nothing was changed",
                )
        wanted, note = choose(channel, latest, rc)
        if wanted is None:
            raise self.refusal(f"a version for {channel}", latest, rc)
        return told(wanted), note

    def refusal(self, what: str, latest: str | None, rc: str | None) -> RefusedError:
        """That there is no such thing, and what there is."""
        has = " and ".join(f"{tag[:100]} for {channel}"
                           for channel, tag in (("latest", latest), ("rc", rc)) if tag)  # fmt: skip
        return RefusedError(
            "no_such_version",
            f"{self.name}'s registry offers no {self.package} {what} (it has {has or 'none'}): "
            "nothing was changed",
        )

    def _missing(self, words: str) -> str:
        why = f" ({words})" if words else ""
        return f"{self.name} is not on the path, nor below {self.prefix}{why}: install it first"

    def _kept(self, undo: Undo) -> str:
        """The path, or "" for what is none of ours: nothing else is ever removed or renamed."""
        directory, name = os.path.split(undo.value)
        ours = undo.kind == TREE and name.startswith(trees.KEPT) and directory == self.beside()
        return undo.value if ours else ""


def find(tool: str, *elsewhere: str) -> list[str]:
    """The tool on the path, else the first of the other files that can be run; [] for none."""
    for path in (tool, *elsewhere):
        found = shutil.which(path)
        if found:
            return [found]
    return []

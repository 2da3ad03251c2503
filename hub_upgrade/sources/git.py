"""A linked checkout: moved along its branch's history by git, and back to where it was.

In the directory that git keeps for this work tree, `parachute-swap` names the commit that a move
began to put there, the operation, and its home; `parachute-ballast` is room for the way back.
"""

from __future__ import annotations

import os
import shutil

from hub_upgrade.domain.installed import Installed
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import COMMIT, Undo
from hub_upgrade.errors import HostError, HubError, RefusedError
from hub_upgrade.host import files
from hub_upgrade.host.commands import Sink
from hub_upgrade.host.files import Unreadable
from hub_upgrade.shapes import Any
from hub_upgrade.sources.git_command import (
    AHEAD,
    APART,
    SAME,
    Change,
    Git,
    Place,
    is_commit,
    named,
)
from hub_upgrade.sources.git_install import Dependencies
from hub_upgrade.sources.git_target import BRANCHES, Resolved, Targets, version_in
from hub_upgrade.sources.left import refuse_left

BALLAST = 8 << 20


class GitSource:
    """A Rewriter (upgrade/ports.py) for the checkout that `directory` is, or lies in; `home` is
    whose operations move it, "" where none does."""

    home = ""
    _name = ""

    def __init__(self, directory: str, managed: Managed) -> None:
        self._directory = directory
        self._managed = managed
        self._git = Git(directory)

    def installed(self) -> Installed:
        """The version that the files on the disk bear, and the commit of HEAD; never raises."""
        try:
            commit = self._git.commit()
        except HubError:
            commit = ""
        return Installed(version_in(self._content, commit), commit)

    def _content(self, name: str) -> bytes:
        try:
            return files.read_regular(os.path.join(self._directory, name))
        except (OSError, Unreadable):
            return b""

    def resolve(self, channel: str, version: str | None) -> Resolved:
        """The commit that the channel means now, or the tag of the version that was named, where
        the channel's bears another; neither the work tree nor a ref is touched.

        It is HEAD, ahead of it, or (a version that was named) behind it. Raises RefusedError
        `detached_head`, `no_upstream`, `no_such_version`, `not_fast_forward`, `bad_signature`,
        `dirty_tree` or `git_in_progress`; HostError with git's words.
        """
        return Targets(self._git).resolve(channel, version, self._managed.verify_signature)

    def keep(self, name: str, wanted: Undo | None = None) -> Undo:  # noqa: ARG002 - it has but one
        """Hold on to the commit of now, with room to come back to it."""
        place = self._git.place()
        _target, operation_id, home = _begun(place)
        refuse_left(home, operation_id, self.home)
        self._name = name
        self._git.refuse_dirty(place)
        commit = self._git.do("rev-parse", "HEAD").strip()
        space = _space(self._git.branch())
        _free(place, space)
        self._git.do("update-ref", f"{space}/kept", commit)  # git must not tidy it away
        self._forget(place)
        try:
            files.write_new(_ballast(place), os.urandom(BALLAST))  # some disks store no zeros
            files.sync_directory(place.own)
        except OSError as error:
            _unlink(_ballast(place))
            raise HostError(
                f"{place.own} does not take the {BALLAST >> 20} MiB that keep the way back open "
                f"({error.strerror}): nothing was changed"
            ) from error
        return Undo(COMMIT, commit)

    def swap(self, resolved: Any, sink: Sink) -> None:
        """Move the branch to the commit, with submodules, and install what its lock file asks for.

        Raises RefusedError, with nothing changed, for changes of the operator's own, files in the
        way, and a lock file without an install command.
        """
        place = self._git.place()
        self._git.refuse_dirty(place)
        head, target = self._git.commit(), str(resolved.digest)
        relation = self._git.relation(head, target)
        if relation == APART:
            raise RefusedError(
                "not_fast_forward", f"the checkout {place.root} was moved away: nothing was changed"
            )
        changes = self._git.changes(head, target)
        _refuse_files_in_the_way(place, changes)
        dependencies = Dependencies(self._git, place, self._managed)
        changed = dependencies.changed(changes)
        if relation != SAME:
            begun = f"{target}\n{self._name}\n{self.home}"
            files.write_durably(_swap(place), os.fsencode(begun))
            how = ("merge", "--ff-only", "--no-stat") if relation == AHEAD else ("reset", "--hard")
            self._git.do(*how, target, sink=sink)
            self._submodules(place, sink)
        if changed or dependencies.owed():
            dependencies.install(sink)
        os.sync()  # git syncs what is its own, and the work tree not at all

    def revert(self, undo: Undo, sink: Sink) -> str:
        """Put the branch and the work tree back to the commit that was kept.

        Only what `swap` began is taken back, and changes made since then with it. The install
        command runs if it ran on the way forward, however far it came; where it fails, the next
        `swap` runs it again.
        """
        commit = _commit(undo)
        place = self._git.place()
        _unlink(_ballast(place))
        target = _begun(place)[0]
        if target:
            self._unlock(place)
            self._reset(place, target, commit, sink)
        elif self._git.commit() != commit:
            self._git.do("reset", "--hard", commit, sink=sink)
            self._submodules(place, sink, "--force")
        else:
            return ""
        owed = self._install_again(Dependencies(self._git, place, self._managed), sink)
        os.sync()
        files.remove_durably(_swap(place))
        return owed

    def _install_again(self, dependencies: Dependencies, sink: Sink) -> str:
        if dependencies.touched():
            try:
                dependencies.install(sink)
            except HostError as error:
                return f"{error.sentence}; it is owed: the next upgrade runs it again"
            dependencies.forget()
        return ""

    def has(self, undo: Undo) -> bool:
        """Whether the commit is there; a git that cannot be run says nothing against it."""
        try:
            return is_commit(undo.value) and bool(self._git.commit(undo.value))
        except HostError:
            return True

    def discard(self, undo: Undo) -> None:  # noqa: ARG002 - as in `keep`
        """Give the room and our refs back; never raises."""
        try:
            place = self._git.place()
            self._forget(place)
            branch = self._git.branch()
            ours = self._git.do("for-each-ref", "--format=%(refname)", _space(branch))
            for ref in ours.split() if branch else ():
                self._git.run("update-ref", "-d", ref)
        except (HubError, OSError, Unreadable):
            pass  # what is left is small, and the next keep begins anew

    def _forget(self, place: Place) -> None:
        """What was written for one move."""
        _unlink(_ballast(place))
        Dependencies(self._git, place, self._managed).forget()
        files.remove_durably(_swap(place))

    # --- the work tree --------------------------------------------------------------------------

    def _reset(self, place: Place, target: str, commit: str, sink: Sink) -> None:
        """From whatever a killed move to `target` left, to `commit`.

        git removes only files that its index knows: it is told that all of `target` is there.
        """
        if self._git.run("read-tree", "--reset", target).status != 0:
            _unlink(os.path.join(place.own, "index"))  # a power cut left a part of it
            self._git.do("read-tree", "--reset", target)
        changes = self._git.changes(commit, target)
        for change in changes:
            path = os.path.join(place.root, change.path)
            if change.was and change.becomes and os.path.lexists(os.path.join(path, ".git")):
                Git(path).run("read-tree", "--reset", change.becomes)
        self._git.do("reset", "--hard", commit, sink=sink)
        self._submodules(place, sink, "--force")
        for change in changes:
            path = os.path.join(place.root, change.path)
            if change.becomes and not change.was:
                _drop_submodule(place, path)
            if change.status == "A":
                _remove_empty(os.path.dirname(path))

    def _submodules(self, place: Place, sink: Sink, *options: str) -> None:
        if os.path.lexists(os.path.join(place.root, ".gitmodules")):
            words = ("submodule", "update", "--init", "--recursive", *options)
            self._git.do(*words, remote=True, sink=sink)

    def _unlock(self, place: Place) -> None:
        """Remove the locks of the git that was killed: `keep` began beside none."""
        for name in ("index", "HEAD", "ORIG_HEAD"):
            _unlink(os.path.join(place.own, name + ".lock"))
        for name in ("config", self._git.branch() or "HEAD"):
            _unlink(os.path.join(place.common, name + ".lock"))
        for directory, names, found in os.walk(os.path.join(place.own, "modules")):
            names[:] = [name for name in names if name != "objects"]
            for name in found:
                if name.endswith(".lock"):
                    _unlink(os.path.join(directory, name))


def _space(branch: str) -> str:
    """Where our refs for a branch lie: a branch is checked out in one worktree at a time."""
    return "refs/parachute/" + branch.removeprefix(BRANCHES).replace("/", "-")


def _free(place: Place, space: str) -> None:
    """Remove the locks that a killed git left on our own refs; the caller works alone."""
    for directory, _names, found in os.walk(os.path.join(place.common, space)):
        for name in found:
            if name.endswith(".lock"):
                _unlink(os.path.join(directory, name))


def _swap(place: Place) -> str:
    return os.path.join(place.own, "parachute-swap")


def _ballast(place: Place) -> str:
    return os.path.join(place.own, "parachute-ballast")


def _begun(place: Place) -> tuple[str, str, str]:
    """The commit that a move began to put there, whose operation, of which home; "" for none."""
    path = _swap(place)
    told = os.fsdecode(files.read_regular(path)) if os.path.lexists(path) else ""
    target, operation_id, home, *_ = (*told.split("\n", 2), "", "", "")
    return target, operation_id, home


def _commit(undo: Undo) -> str:
    if undo.kind != COMMIT or not is_commit(undo.value):
        raise HostError(f"{undo.kind} {undo.value[:100]} is no commit to go back to")
    return undo.value


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _refuse_files_in_the_way(place: Place, changes: list[Change]) -> None:
    """git refuses some of them by itself, overwrites ignored ones, and overwrites all of them on
    its way backwards. Where a path is gone in the same move, the rest is left to git."""
    gone = {change.path.lower() for change in changes if change.status == "D"}
    found = []
    for change in changes:
        path = os.path.join(place.root, change.path)
        if change.status != "A" or not os.path.lexists(path) or _makes_room(change.path, gone):
            continue
        is_directory = os.path.isdir(path) and not os.path.islink(path)
        if not is_directory or (change.becomes and os.listdir(path)):
            found.append(change.path)
    if found:
        raise RefusedError(
            "untracked_files",
            f"the new version has files that lie in {place.root} already, and are not git's "
            f"({named(found)}): move them away, or remove them; nothing was changed",
        )


def _makes_room(path: str, gone: set[str]) -> bool:
    """Whether the path, or one above it, is removed; in any case (some disks know but one)."""
    path = path.lower()
    return any(path == other or path.startswith(other + "/") for other in gone)


def _drop_submodule(place: Place, path: str) -> None:
    """Remove a submodule that came with the version that is left, its repository too: half of a
    clone is taken for the whole one."""
    try:
        told = os.fsdecode(files.read_regular(os.path.join(path, ".git"))).strip()
        repository = os.path.realpath(os.path.join(path, told.removeprefix("gitdir: ")))
        modules = os.path.join(os.path.realpath(place.own), "modules")
        if repository.startswith(modules + os.sep):
            shutil.rmtree(repository)
    except (OSError, Unreadable):
        pass
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)


def _remove_empty(directory: str) -> None:
    """Remove it and those above it, as far as nothing lies in them: git made them, and was killed
    before it put anything there."""
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass
        except OSError:
            return
        directory = os.path.dirname(directory)

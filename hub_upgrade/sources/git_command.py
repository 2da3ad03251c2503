"""git itself: run without hooks, without a question to anybody, within a time limit."""

from __future__ import annotations

import os
import shlex

from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import commands
from hub_upgrade.host.children import environment
from hub_upgrade.host.commands import Result, Sink
from hub_upgrade.shapes import NamedTuple

LOCAL_S = 60.0
"""For a call that stays on this machine."""
REMOTE_S = 300.0
MOST_NAMED = 10
WORDS = 500
IN_PROGRESS = {
    "MERGE_HEAD": "a merge is in progress",
    "rebase-merge": "a rebase is in progress",
    "rebase-apply": "a rebase is in progress",
    "CHERRY_PICK_HEAD": "a cherry-pick is in progress",
    "REVERT_HEAD": "a revert is in progress",
    "index.lock": "another git is at work, or left its index.lock when it was killed",
}
CONFIG = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",  # it may be a hook, or leave a daemon behind
    "core.fsync": "all",  # git's own choice leaves the index and the branches to a power cut
    "credential.interactive": "false",
    "fetch.writeCommitGraph": "false",  # two at once would be in each other's way
    "gc.auto": "0",  # it would go on in the background
    "maintenance.auto": "false",
    "merge.autoStash": "false",
    "submodule.recurse": "false",
}
SETTINGS = tuple(word for name, value in CONFIG.items() for word in ("-c", f"{name}={value}"))
QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",  # empty: no program is asked, SSH_ASKPASS and core.askPass neither
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",
    "GIT_OPTIONAL_LOCKS": "0",
}
ELSEWHERE = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_CONFIG",
    }
)
"""They lead git to another repository than the one that the directory lies in."""
GITLINK = b"160000"

SAME, AHEAD, BEHIND, APART = "same", "ahead", "behind", "apart"


class Place(NamedTuple):
    """Where a checkout keeps what is its own (a linked worktree has less of it), the root of its
    work tree, and whether its history is cut off somewhere."""

    own: str
    common: str
    root: str
    shallow: bool


class Change(NamedTuple):
    """One path that differs between two commits: `A`, `D`, `M` or `T`, below the root, and the
    commits that a submodule stands at; "" where it is none."""

    status: str
    path: str
    was: str
    becomes: str


class Git:
    """git in one directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._ssh = ""

    def run(self, *words: str, remote: bool = False, sink: Sink | None = None) -> Result:
        """One call to its end; raises HostError when there is no git, or its time is over."""
        limit_s = REMOTE_S if remote else LOCAL_S
        env = {**self.environment(remote), "LC_ALL": "C"}
        argv = ["git", "-C", self.directory, *SETTINGS, *words]
        result = commands.run(argv, limit_s, env, sink=sink)
        if result.status == commands.MISSING:
            raise commands.missing(
                "git is not installed, or not on the path: install it, and try again"
            )
        if result.status is None:
            raise HostError(f"git {words[0]} in {self.directory} took longer than {limit_s:g} s")
        return result

    def do(self, *words: str, remote: bool = False, sink: Sink | None = None) -> str:
        """What it prints; raises HostError with its own words when it fails."""
        result = self.run(*words, remote=remote, sink=sink)
        if result.status != 0:
            raise HostError(f"git {words[0]} failed in {self.directory}: {words_of(result)}")
        return os.fsdecode(result.stdout)

    def environment(self, remote: bool) -> dict[str, str]:
        """What a tool gets that may call git, or is git: nobody is asked for anything."""
        inherited = environment(os.environ)
        env = {name: value for name, value in inherited.items() if name not in ELSEWHERE}
        env.update(QUIET)
        if remote:
            env["GIT_SSH_COMMAND"] = self._ssh = self._ssh or self._ssh_command(env)
        return env

    def _ssh_command(self, env: dict[str, str]) -> str:
        configured = env.get("GIT_SSH_COMMAND") or self.run("config", "core.sshCommand").stdout
        named = os.fsdecode(configured).strip() or shlex.quote(env.get("GIT_SSH") or "ssh")
        return named + " -oBatchMode=yes"

    def place(self) -> Place:
        """Where everything lies; raises HostError for what is no checkout of this user's."""
        asked = ("absolute-git-dir", "git-common-dir", "show-toplevel", "is-shallow-repository")
        own, common, root, shallow = self.do(
            "rev-parse", *(f"--{word}" for word in asked)
        ).splitlines()
        return Place(own, os.path.join(self.directory, common), root, shallow == "true")

    def commit(self, name: str = "HEAD") -> str:
        """The commit that a name stands for, or "" for none."""
        words = ("rev-parse", "--quiet", "--verify", name + "^{commit}")
        return os.fsdecode(self.run(*words).stdout).strip()

    def branch(self) -> str:
        """The full name of the branch that is checked out, or "" at a detached head."""
        return os.fsdecode(self.run("symbolic-ref", "--quiet", "HEAD").stdout).strip()

    def relation(self, here: str, there: str) -> str:
        """What `there` is, seen from `here`: AHEAD can be fast-forwarded to."""
        counted = self.do("rev-list", "--left-right", "--count", f"{here}...{there}").split()
        only_here, only_there = (int(number) > 0 for number in counted)
        if only_here:
            return APART if only_there else BEHIND
        return AHEAD if only_there else SAME

    def changes(self, old: str, new: str) -> list[Change]:
        """The paths that differ, all of them."""
        pieces: list[bytes] = []  # a result keeps only the end of what is long
        self.do("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new,
                sink=pieces.append)  # fmt: skip
        fields = b"".join(pieces).split(b"\0")[:-1]
        return [_change(*pair) for pair in zip(fields[::2], fields[1::2])]

    def refuse_dirty(self, place: Place) -> None:
        """Raise RefusedError for a work tree with changes of its own, or a git at work in it."""
        for name, why in IN_PROGRESS.items():
            if os.path.lexists(os.path.join(place.own, name)):
                raise RefusedError(
                    "git_in_progress",
                    f"{why}: finish it, or remove {os.path.join(place.own, name)}; "
                    "nothing was changed",
                )
        found = self.do("status", "--porcelain", "-z", "--untracked-files=no", "--no-renames")
        names = [entry[3:] for entry in found.split("\0") if entry]
        if names:
            raise RefusedError(
                "dirty_tree",
                f"the checkout {place.root} has changes of its own ({named(names)}): commit them, "
                "or put them aside with git stash; nothing was changed",
            )


def named(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - MOST_NAMED
    shown = ", ".join(os.fsencode(name).decode("utf-8", "replace") for name in names[:MOST_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def words_of(result: Result) -> str:
    """What a tool said on its way out, in one line."""
    said = result.stderr.decode("utf-8", "replace").split()
    words = result.killed() or " ".join(said)[-WORDS:] or result.last_line()
    return words or f"it ended with {result.status}"


def is_commit(text: object) -> bool:
    """Whether a text is a whole commit's name, SHA-1 or SHA-256."""
    return isinstance(text, str) and len(text) in (40, 64) and set(text) <= set("0123456789abcdef")


def _change(told: bytes, path: bytes) -> Change:
    old_mode, new_mode, old, new, status = told.lstrip(b":").split()
    was = old.decode() if old_mode == GITLINK else ""
    becomes = new.decode() if new_mode == GITLINK else ""
    return Change(status.decode(), os.fsdecode(path), was, becomes)

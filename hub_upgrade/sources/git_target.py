"""Which commit a channel or a version means now, for a checkout that follows a branch.

What is fetched goes into refs of our own, `refs/parachute/BRANCH/...`: the operator's tags and
remote branches stay as they are, and a tag that was moved is followed all the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from hub_upgrade.domain.versions import (
    LONGEST_VERSION,
    channel_of,
    choose,
    is_version,
    normal,
    sort_key,
    told,
)
from hub_upgrade.errors import RefusedError
from hub_upgrade.shapes import NamedTuple
from hub_upgrade.sources.git_command import AHEAD, APART, BEHIND, SAME, Git, Place, words_of

OURS = "refs/parachute/"
TAGS = "refs/tags/"
BRANCHES = "refs/heads/"
MOST_CANDIDATES = 10
SHORT_COMMIT = 12


class Resolved(NamedTuple):
    """One exact commit, as `digest`; its version is for people. `note` is for the log, or ""."""

    version: str
    digest: str
    note: str


class Followed(NamedTuple):
    """The branch of a remote that the checkout's branch follows, and where our refs lie."""

    remote: str
    ref: str
    space: str


def version_in(read: Callable[[str], bytes], commit: str) -> str:
    """The version that a tree says of itself, as a hub that runs would be read: package.json's,
    VERSION's, or its commit's; `read` gives the content of a file, b"" for none."""
    try:
        found = json.loads(read("package.json"))["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        found = None
    if not _is_told(found):
        found = read("VERSION").decode("utf-8", "replace").strip()
    return told(found if _is_told(found) else commit[:SHORT_COMMIT])


def _is_told(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST_VERSION and text.isprintable()


def space_of(branch: str) -> str:
    """Where our refs for a branch lie: a branch is checked out in one worktree at a time."""
    return OURS + branch.removeprefix(BRANCHES).replace("/", "-")


def free(place: Place, space: str) -> None:
    """Remove the locks that a killed git left on our own refs; the caller works alone."""
    for directory, _names, files in os.walk(os.path.join(place.common, space)):
        for name in files:
            if name.endswith(".lock"):
                os.unlink(os.path.join(directory, name))


class Targets:
    """What the remote of one checkout has to offer."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._place = git.place()
        self._head = git.commit()
        self._followed = self._follow()
        free(self._place, self._followed.space)

    def resolve(self, channel: str, version: str | None, verify: bool) -> Resolved:
        """See GitSource.resolve."""
        ref, note = self._exact(normal(version)) if version else self._channel(channel)
        commit = self._git.do("rev-parse", "--verify", self._ours(ref) + "^{commit}").strip()
        relation = self._relation(ref, commit)
        if relation == APART:
            raise self._apart(ref)
        if relation == BEHIND and not version:
            note = f"{self._name(ref)} lacks commits that are here: the checkout stays as it is"
            commit = self._head
        found = self.version_of(commit)
        if version and found not in (told(version), told(commit[:SHORT_COMMIT])):
            note = f"the tag {self._name(ref)} holds version {found}"
        if commit != self._head:
            self._git.refuse_dirty(self._place)
            if verify:
                self._verify(ref, commit)
        return Resolved(found, commit, note)

    def version_of(self, commit: str) -> str:
        """The version that a commit says of itself, in the checkout's directory."""
        def read(name: str) -> bytes:
            return self._git.run("cat-file", "blob", f"{commit}:./{name}").stdout

        return version_in(read, commit)

    def _follow(self) -> Followed:
        where = self._git.directory
        branch = self._git.branch()
        if not branch:
            raise RefusedError(
                "detached_head",
                f"the checkout {where} is at a detached head ({self._head[:SHORT_COMMIT]}): check "
                f"out the branch that it follows, such as with git -C {where} switch main",
            )
        asked = "--format=%(upstream:remotename)%00%(upstream:remoteref)"
        remote, _, ref = self._git.do("for-each-ref", asked, branch).strip().partition("\0")
        if not remote or not ref:
            name = branch.removeprefix(BRANCHES)
            raise RefusedError(
                "no_upstream",
                f"the branch {name} of {where} follows no branch of a remote: name one with "
                f"git -C {where} branch --set-upstream-to=origin/{name}",
            )
        return Followed(remote, ref, space_of(branch))

    def _exact(self, version: str) -> tuple[str, str]:
        """The remote's tag that bears this version, fetched."""
        names = (f"{TAGS}v{version}", TAGS + version)
        there = self._tags(*names)
        for ref in names:
            if ref in there:
                self._fetch([ref])
                return ref, ""
        raise RefusedError(
            "no_such_version",
            f"{self._followed.remote} has no tag v{version} and none {version}: "
            "nothing was changed",
        )

    def _channel(self, channel: str) -> tuple[str, str]:
        """The remote's ref that the channel means now, fetched, and a note."""
        upstream = self._followed.ref
        candidates = self._candidates() if channel == "rc" else []
        self._fetch([upstream, *candidates])
        if channel != "rc":
            return upstream, ""
        stable = self.version_of(self._git.commit(self._ours(upstream)))
        passed: list[str] = []
        for ref in candidates:
            version = normal(ref.removeprefix(TAGS))
            chosen, note = choose(channel, stable, version)
            if chosen != version:
                break
            commit = self._git.commit(self._ours(ref))
            relation = self._git.relation(self._head, commit) if commit else APART
            if relation in (SAME, AHEAD):
                return ref, _passed(passed)
            if relation == APART:
                passed.append(ref)
        else:
            note = "" if candidates else choose(channel, stable, None)[1]
        return upstream, "; ".join(filter(None, (_passed(passed), note)))

    def _candidates(self) -> list[str]:
        """The remote's tags of release candidates, the best first."""
        versions = {ref: ref.removeprefix(TAGS) for ref in self._tags(TAGS + "*-rc*")}
        found = [ref for ref, version in versions.items() if _is_candidate(version)]
        return sorted(found, key=lambda ref: sort_key(versions[ref]))[: -MOST_CANDIDATES - 1 : -1]

    def _tags(self, *patterns: str) -> list[str]:
        words = ("ls-remote", "--refs", "--", self._followed.remote, *patterns)
        refs = [line.partition("\t")[2] for line in self._git.do(*words, remote=True).splitlines()]
        return [ref for ref in refs if ref.startswith(TAGS)]

    def _ours(self, ref: str) -> str:
        """Where a ref of the remote is kept here."""
        name = ref.removeprefix("refs/") if ref.startswith(TAGS) else "upstream"
        return f"{self._followed.space}/{name}"

    def _name(self, ref: str) -> str:
        """A ref of the remote, as an operator knows it."""
        if ref.startswith(TAGS):
            return ref.removeprefix(TAGS)
        return f"{self._followed.remote}/{ref.removeprefix(BRANCHES)}"

    def _fetch(self, refs: list[str], *options: str) -> None:
        """Bring these refs of the remote into ours, and touch no other.

        Without `--refmap=` git would move the remote's branches here too, and stop at the lock
        that a killed one left there.
        """
        quiet = ("--quiet", "--no-tags", "--refmap=", "--no-recurse-submodules")
        wanted = [f"+{ref}:{self._ours(ref)}" for ref in refs]
        where = ("--", self._followed.remote, *wanted)
        self._git.do("fetch", *quiet, *options, *where, remote=True)

    def _relation(self, ref: str, commit: str) -> str:
        """What the target is, seen from HEAD; a shallow clone knows only once it has it all."""
        relation = self._git.relation(self._head, commit)
        if relation == APART and self._place.shallow:
            self._fetch([ref], "--unshallow")
            relation = self._git.relation(self._head, commit)
        return relation

    def _apart(self, ref: str) -> RefusedError:
        where = self._git.directory
        return RefusedError(
            "not_fast_forward",
            f"the checkout {where} has commits that {self._name(ref)} has not, and the other way "
            "round (its history was rewritten, or has gone another way): nothing was changed; save "
            f"what is only here, and bring it onto that history by hand (git -C {where} reset)",
        )

    def _verify(self, ref: str, commit: str) -> None:
        """A good signature of the tag, or of the commit itself; raises RefusedError."""
        calls = [("verify-commit", commit)]
        named = self._git.do("rev-parse", self._ours(ref)).strip()
        if named != commit:  # an annotated tag is an object of its own
            calls.insert(0, ("verify-tag", named))
        said = []
        for call in calls:
            result = self._git.run(*call)
            if result.status == 0:
                return
            said.append(words_of(result) if result.stderr else "it is not signed")
        raise RefusedError(
            "bad_signature",
            f"{self._name(ref)} ({commit[:SHORT_COMMIT]}) bears no good signature "
            f'({"; ".join(said)}): it is not installed, as "verify_signature" in hub.json asks '
            "for one",
        )


def _is_candidate(tag: str) -> bool:
    return is_version(tag) and channel_of(tag) == "rc"


def _passed(refs: list[str]) -> str:
    if not refs:
        return ""
    names = ", ".join(ref.removeprefix(TAGS) for ref in refs)
    return f"passed over, as the checkout cannot be fast-forwarded to it: {names}"

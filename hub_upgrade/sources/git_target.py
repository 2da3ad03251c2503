"""Which commit a channel or a version means now, for a checkout that follows a branch.

What is fetched is known by its commit, and no ref is written: the operator's tags and remote
branches stay as they are, a tag that was moved is followed all the same, and plans may be made
beside each other, and beside an upgrade.
"""

from __future__ import annotations

import json
import time
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
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.shapes import NamedTuple
from hub_upgrade.sources.git_command import AHEAD, APART, BEHIND, SAME, Git, words_of

TAGS = "refs/tags/"
BRANCHES = "refs/heads/"
MOST_CANDIDATES = 10
SHORT_COMMIT = 12
LOOKS = 3
"""How often a remote is asked that is changed while it is asked."""
SHALLOW_S = 60.0
SHALLOW_POLL_S = 0.2


class Resolved(NamedTuple):
    """One exact commit, as `digest`; its version is for people. `note` is for the log, or ""."""

    version: str
    digest: str
    note: str


class Followed(NamedTuple):
    """The branch of a remote that the checkout's branch follows."""

    remote: str
    ref: str


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


class Targets:
    """What the remote of one checkout has to offer."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._place = git.place()
        self._head = git.commit()
        self._followed = self._follow()
        self._there: dict[str, str] = {}

    def resolve(self, channel: str, version: str | None, verify: bool) -> Resolved:
        """See GitSource.resolve."""
        names = [f"{TAGS}v{normal(version)}", TAGS + normal(version)] if version else []
        tag = self._bring(channel, names)
        ref, note = tag, ""
        if self._followed.ref in self._there:
            ref, note = self._channel(channel)
        commit, relation = self._seen(ref)
        if relation == BEHIND and ref != tag:
            note = f"{self._name(ref)} lacks commits that are here: the checkout stays as it is"
            commit = self._head
        found = self.version_of(commit)
        if version and (found != told(version) or (tag and relation == APART)):
            if not tag:
                raise self._no_such(normal(version), ref, found)
            ref, note = tag, ""
            commit, relation = self._seen(ref)
            found = self.version_of(commit)
            if found not in (told(version), told(commit[:SHORT_COMMIT])):
                note = f"the tag {self._name(ref)} holds version {found}"
        if relation == APART:
            raise self._apart(ref)
        if commit != self._head:
            self._git.refuse_dirty(self._place)
            if verify:
                same = tag and self._git.commit(self._there[tag]) == commit
                self._verify(tag if same else ref, commit)
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
        return Followed(remote, ref)

    def _bring(self, channel: str, names: list[str]) -> str:
        """Have here what may be meant; returns the first of these tags that there is, or ""."""
        upstream = self._followed.ref
        asked = [upstream, *names, *([TAGS + "*-rc*"] if channel == "rc" else [])]
        words = ("ls-remote", "--refs", "--", self._followed.remote, *asked)
        for _ in range(LOOKS):
            lines = self._git.do(*words, remote=True).splitlines()
            self._there = {ref: its for its, _, ref in (line.partition("\t") for line in lines)}
            tag = next((ref for ref in names if ref in self._there), "")
            wanted = [*self._candidates(), *([tag] if tag else [])]
            if not tag or upstream in self._there:
                wanted.append(upstream)
            self._fetch(wanted)
            objects = [self._there[ref] for ref in wanted if ref in self._there]
            if self._git.run("rev-list", "--no-walk", *objects).status == 0:
                return tag
        raise HostError(f"{self._followed.remote} was changed while it was asked: try again")

    def _channel(self, channel: str) -> tuple[str, str]:
        """The remote's ref that the channel means now, and a note."""
        upstream = self._followed.ref
        if channel != "rc":
            return upstream, ""
        candidates = self._candidates()
        stable = self.version_of(self._git.commit(self._there[upstream]))
        passed: list[str] = []
        for ref in candidates:
            version = normal(ref.removeprefix(TAGS))
            chosen, note = choose(channel, stable, version)
            if chosen != version:
                break
            commit = self._git.commit(self._there[ref])
            relation = self._git.relation(self._head, commit) if commit else APART
            if relation in (SAME, AHEAD):
                return ref, _passed(passed)
            if relation == APART:
                passed.append(ref)
        else:
            note = "" if candidates else choose(channel, stable, None)[1]
        return upstream, "; ".join(filter(None, (_passed(passed), note)))

    def _candidates(self) -> list[str]:
        """The remote's tags of release candidates that it was asked for, the best first."""
        tags = [ref for ref in self._there if ref.startswith(TAGS)]
        found = [ref for ref in tags if _is_candidate(ref.removeprefix(TAGS))]
        found.sort(key=lambda ref: sort_key(ref.removeprefix(TAGS)))
        return found[: -MOST_CANDIDATES - 1 : -1]

    def _name(self, ref: str) -> str:
        """A ref of the remote, as an operator knows it."""
        if ref.startswith(TAGS):
            return ref.removeprefix(TAGS)
        return f"{self._followed.remote}/{ref.removeprefix(BRANCHES)}"

    def _fetch(self, refs: list[str], *options: str) -> None:
        """Bring what these refs of the remote name.

        Without `--refmap=` git would move the remote's branches here too, and stop at the lock
        that a killed one left there; FETCH_HEAD is the operator's.
        """
        quiet = ("--quiet", "--no-tags", "--refmap=", "--no-recurse-submodules")
        where = ("--no-write-fetch-head", "--", self._followed.remote, *refs)
        self._git.do("fetch", *quiet, *options, *where, remote=True)

    def _seen(self, ref: str) -> tuple[str, str]:
        """The commit that a ref of the remote names, and what it is, seen from HEAD; a shallow
        clone knows only once it has it all."""
        commit = self._git.do("rev-parse", "--verify", self._there[ref] + "^{commit}").strip()
        relation = self._git.relation(self._head, commit)
        if relation == APART and self._place.shallow:
            self._deepen(ref)
            relation = self._git.relation(self._head, commit)
        return commit, relation

    def _deepen(self, ref: str) -> None:
        """Bring the whole history; git does not wait for another that is at it."""
        until = time.monotonic() + SHALLOW_S
        while self._git.place().shallow:
            try:
                return self._fetch([ref], "--unshallow")
            except HostError as error:
                if "shallow" not in error.sentence or time.monotonic() > until:
                    raise
            time.sleep(SHALLOW_POLL_S)
        return None

    def _no_such(self, version: str, ref: str, found: str) -> RefusedError:
        return RefusedError(
            "no_such_version",
            f"{self._name(ref)} bears {found}, and {self._followed.remote} has no tag v{version} "
            f"and none {version}: nothing was changed",
        )

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
        named = self._there[ref]
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

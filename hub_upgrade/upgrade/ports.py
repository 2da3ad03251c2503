"""What an upgrade needs from the outside, each with its contract in prose."""

from __future__ import annotations

from collections.abc import Callable

from hub_upgrade.domain.boot_record import Next
from hub_upgrade.domain.installed import Installed
from hub_upgrade.domain.operation import Operation, Undo
from hub_upgrade.shapes import Any, Protocol

Progress = Callable[[int, int], None]
"""Called with what is done and the whole, in bytes, as often as a source likes."""
Sink = Callable[[bytes], None]
"""Called with each piece of what a tool prints."""


class Resolved(Protocol):
    """One exact release: a version, what tells its content from any other (the SHA-256 of its
    file, a registry's integrity value, a commit), and a note for the log or ""."""

    @property
    def version(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def note(self) -> str: ...


class Source(Protocol):
    """Where releases come from."""

    def resolve(self, channel: str, version: str | None) -> Any:
        """The one Resolved release that the channel, or an exact version, means now.

        Touches nothing. Raises RefusedError for what is not there, HostError for a source that
        does not answer.
        """

    def stage(self, resolved: Any, progress: Progress) -> str:
        """Put the release beside what runs, verified, and return its directory's name.

        Idempotent: again is safe, and a release that is there already is only verified. Leaves
        nothing half done behind. Raises RefusedError, HostError or OSError.
        """


class Rewriter(Protocol):
    """How another program, the managed hub, got onto the disk, and how that is rewritten.

    There is one a way of installing (git, bun, npm, pip). Every call may wait for tools, each
    within a time limit of its own; what they print goes to `sink`, in pieces, as it comes. No
    tool ever asks anybody anything. A missing tool is a HostError with `exit_code` 127.
    """

    def installed(self) -> Installed:
        """What is on the disk now, read anew at each call. Touches nothing; never raises."""

    def resolve(self, channel: str, version: str | None) -> Resolved:
        """The one Resolved that the channel, or an exact version, means now.

        Changes nothing that is installed. `digest` is the registry's integrity value, or the
        commit. Raises RefusedError `no_such_version` for what is not there, another RefusedError
        where the operator must act first, HostError for a registry or remote that does not answer.
        """

    def keep(self, name: str, wanted: Undo | None = None) -> Undo:
        """Set aside what brings back the state of now, and how that is called.

        Durable on return, and good without any network. `name` is made of letters, digits and
        `-`; the same name again begins anew. What was kept before goes, but for the one that is
        `wanted`: a killed helper leaves more. Raises RefusedError where what is installed must not
        be rewritten (a dirty tree), HostError or OSError; nothing half done is left then.
        """

    def swap(self, resolved: Any, sink: Sink) -> None:
        """Rewrite what is installed. Not atomic: killed or failed at any instant, `revert` brings
        everything back. Raises RefusedError, HostError or OSError."""

    def revert(self, undo: Undo, sink: Sink) -> str:
        """Bring back what `keep` set aside: safe from every state that `swap` or an earlier
        `revert` may have left, safe to call twice, and without any network wherever the tools
        allow it. What was kept may be used up by it. Raises HostError or OSError when it is not
        back; again is safe. Returns "", or a sentence for the log: it is back, and what is to be
        installed with it (a checkout's dependencies) failed, and is left to the next `swap`."""

    def has(self, undo: Undo) -> bool:
        """Whether what was kept is there still, so that `revert` could bring it back."""

    def discard(self, undo: Undo) -> None:
        """Forget what was kept; never raises, and nothing there is as good."""


class Store(Protocol):
    """The single slot of the record. See host.status_store for what raises."""

    def read(self) -> Operation | None:
        """The record, or None; never raises."""

    def wire(self) -> bytes | None:
        """The record as JSON, or None; never raises."""

    def claim(self, operation: Operation) -> Operation:
        """A new record into the slot; for the holder of `operation.lock`."""

    def update(
        self, operation_id: str, change: Callable[[Operation], Operation]
    ) -> Operation | None:
        """Read, compare, replace; None when another operation or a finished one is there."""

    def history(self) -> list[dict[str, Any]]:
        """The operations that ended, newest first; never raises."""


class Launcher(Protocol):
    """The parent process that tries a release and judges it."""

    def alive(self) -> bool:
        """Whether one runs, by PID and start time."""

    def protocol(self) -> int:
        """The launcher's protocol that it speaks."""

    def factory(self) -> str:
        """The file it was started from, to be named to an operator."""

    def hand_over(self, nxt: Next) -> bool:
        """Write `next.json` durably, and hasten the launcher. After it there is no way back.

        True once the launcher has taken it up; False when none is alive, or it has not looked in
        time: then the release is tried when it next looks. Raises OSError when it cannot be
        written, with nothing handed over.
        """


class Candidate(Protocol):
    """What a release says of itself."""

    @property
    def needs_launcher_protocol(self) -> int: ...


class Restarter(Protocol):
    """Whoever keeps the managed hub alive, and restarts it. Every call may wait for tools, each
    within a time limit of its own; none is ever asked for a password."""

    by_manager: bool
    """A manager restarts it by its name: no process is ever signalled by us, and none need be
    known to be asked for."""
    limit_s: int
    """How long `restart` may take at most, in seconds; known once `check` was called."""

    def check(self) -> str:
        """Before anything is touched: could it be restarted? A line for the log and the evidence.

        Touches nothing. Raises RefusedError or HostError, with the words of whoever would refuse.
        """

    def restart(self, process: str, again: bool, back: bool = False) -> str:
        """End the hub's process (host.hub_process.identity; "" where none is known), so that it is
        started again; a line for the log. Never two restarts for one call.

        `again` says that an earlier call may have done it already, and was not seen to. `back` that
        what is to be started was put back, whatever failed before. Raises HostError when it does
        not run anew, with the words of whoever refused and the command that would do it; where the
        old process lives on, the sentence begins with "NOT restarted"; where it does not, and the
        new one was never begun, with "NOT started"; where somebody had it stopped, and nothing is
        to be started against that, with domain.restart.STOPPED.
        """

    def mark(self) -> None:
        """What runs now is what is watched: `ordered` tells of what comes after. Never raises."""

    def ordered(self) -> str:
        """What somebody else's order to the manager has done to the hub since `mark`: a sentence
        that begins with domain.restart.STOPPED, or RESTARTED, or "" for nothing, or where that is
        not to be known. Waits, at most `limit_s`, for an order that is being carried out. Never
        raises."""

    def tell(self) -> list[str]:
        """What the manager says of the hub now, and the last that it printed, where the manager
        keeps that: for the log of one that did not come up. Never raises."""


class Preflight(Protocol):
    """Try a release where it can do no harm. Both raise RefusedError with a sentence that bears
    the release's last words, and leave no process and no file behind."""

    def ask(self, path: str, version: str) -> Candidate:
        """What the file says of itself; its version must be the one that is wanted."""

    def prove(self, path: str, version: str, digest: str) -> None:
        """Start the file as a launcher would, on a spare socket with a scratch home."""

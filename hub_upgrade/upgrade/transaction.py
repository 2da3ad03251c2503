"""The linear preparation of an operation; runs in the helper, which owns `operation.lock`.

Each step is recorded before its act. Until `next.json` is written nothing has changed for the hub
that runs; from there on the launcher alone decides, and the helper is not needed any more.
"""

from __future__ import annotations

import os
import time
import traceback

from hub_upgrade.domain import operation as op
from hub_upgrade.domain import versions
from hub_upgrade.domain.boot_record import BootRecord, Next
from hub_upgrade.domain.operation import Operation, Request, Undo
from hub_upgrade.domain.settle import Unknown
from hub_upgrade.errors import HostError, HubError, RefusedError
from hub_upgrade.host import releases
from hub_upgrade.host.files import Home
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.upgrade import hooks, recovery
from hub_upgrade.upgrade.journal import Journal, LostError
from hub_upgrade.upgrade.ports import Candidate, Launcher, Preflight, Source, Store

BOOT_WAIT_S = 10.0
"""How long a `boot.json` that cannot be read is waited for: the launcher writes it again."""
BOOT_POLL_S = 0.1


class Target(NamedTuple):
    """The one release that this operation is about, pinned."""

    version: str
    digest: str

    @property
    def release(self) -> str:
        return releases.name_of(self.version, self.digest)


class Transaction:
    """One operation on its way to the launcher."""

    def __init__(
        self,
        operation: Operation,
        home: Home,
        store: Store,
        source: Source,
        preflight: Preflight,
        launcher: Launcher,
        log: OperationLog,
        settings: Settings,
    ) -> None:
        self._home = home
        self._settings = settings
        self._store = store
        self._source = source
        self._preflight = preflight
        self._launcher = launcher
        self._log = log
        self._journal = Journal(operation, store, log)
        self._added = ""

    def run(self) -> int:
        """Prepare and hand over; returns the helper's exit code. Never raises."""
        try:
            return self._steps()
        except LostError:
            self._log.line("the record is not this operation's any more: stopped before the act")
            self._clean_up()
            return 1
        except HubError as error:
            return self._failed(error.sentence)
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            return self._failed(f"{what}{error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - the record must say that it ended
            self._log.write(traceback.format_exc().encode("utf-8", "replace"))
            return self._failed(f"an error of the hub's own ({type(error).__name__}); see the log")

    def _steps(self) -> int:
        kind = self._journal.operation.kind
        self._begin()
        boot = self._boot()
        target = self._previous(boot) if kind == op.ROLLBACK else self._resolved(boot)
        if target is None:
            self._journal.finish(op.SUCCEEDED)
            return 0
        if kind == op.UPGRADE:
            target = self._staged(target)
        self._verified(target)
        self._tried(target)
        if kind == op.UPGRADE and self._settings.before_upgrade is not None:
            self._journal.step(op.BACKING_UP, step_limit_s=hooks.limit_s(self._settings))
            hooks.before_upgrade(self._settings, self._journal.operation, self._journal.output)
        return self._handed_over(target)

    def _begin(self) -> None:
        self._journal.step(op.RESOLVING, op.RUNNING)

    def _boot(self) -> BootRecord | None:
        """The launcher's record; one that cannot be read is waited for. Raises HostError."""
        deadline = time.monotonic() + BOOT_WAIT_S
        while True:
            found = recovery.read_boot(self._home)
            if not isinstance(found, Unknown):
                return found
            if time.monotonic() > deadline:
                raise HostError(f"{self._home.boot_json} cannot be read, nor is it written again")
            time.sleep(BOOT_POLL_S)

    # --- which release --------------------------------------------------------------------------

    def _resolved(self, boot: BootRecord | None) -> Any | None:
        """What the source makes of the request; None when it is what runs, and proven."""
        operation = self._journal.operation
        named = operation.request.version
        resolved = self._source.resolve(operation.channel, named)
        if resolved.note:
            self._journal.line(resolved.note)
        what = f"version {named}" if named else f"channel {operation.channel}"
        self._journal.line(f"{what} is {resolved.version} (sha256 {resolved.digest})")
        name = releases.name_of(resolved.version, resolved.digest)
        if name == operation.current_release and is_proven(name, boot):
            self._journal.line(f"{resolved.version} is what runs already: nothing was restarted")
            return None
        rejected = boot is not None and resolved.digest in boot.rejected
        refuse_target(operation.current_version, operation.request, resolved.version, rejected)
        return resolved

    def _previous(self, boot: BootRecord | None) -> Target:
        """The release to roll back to: the record names it, since it was accepted."""
        operation = self._journal.operation
        name = operation.target_release or (boot.previous if boot is not None else None)
        version = releases.version_of(name) if name else None
        digest = operation.target_digest or (releases.digest_of(self._home, name) if name else None)
        if version is None or digest is None:
            raise RefusedError(
                "nothing_to_roll_back", f"there is no release before {operation.current_version}"
            )
        self._journal.line(f"the release before is {version} (sha256 {digest})")
        return Target(version, digest)

    # --- made ready beside what runs ------------------------------------------------------------

    def _staged(self, resolved: Any) -> Target:
        target = Target(resolved.version, resolved.digest)
        name = target.release
        self._journal.step(
            op.STAGING,
            target_version=target.version,
            target_release=name,
            target_digest=target.digest,
        )
        there = os.path.lexists(os.path.join(self._home.releases, name))
        staged = self._source.stage(resolved, self._journal.progress)
        if not there:
            self._added = staged
        if staged != name:
            raise HostError(f"the source staged {staged}, and not {name}")
        return target

    def _verified(self, target: Target) -> None:
        self._journal.step(
            op.VERIFYING,
            target_version=target.version,
            target_release=target.release,
            target_digest=target.digest,
        )
        if not releases.is_whole(self._home, target.release, target.digest):
            raise RefusedError("damaged", f"{target.release} is missing or damaged")

    def _tried(self, target: Target) -> None:
        self._journal.step(op.PREFLIGHT)
        path = releases.path_of(self._home, target.release)
        self._speaks(target, self._preflight.ask(path, target.version))
        self._preflight.prove(path, target.version, target.digest)
        self._journal.line(f"{target.version} was tried on a spare socket, and is healthy")

    def _speaks(self, target: Target, candidate: Candidate) -> None:
        needs, speaks = candidate.needs_launcher_protocol, self._launcher.protocol()
        if needs > speaks:
            raise RefusedError(
                "needs_launcher",
                f"{target.version} needs a launcher of protocol {needs}, and this one speaks "
                f"{speaks}: replace {self._launcher.factory()} by it, and restart the hub",
            )

    # --- handed over ----------------------------------------------------------------------------

    def _handed_over(self, target: Target) -> int:
        operation = self._journal.operation
        boot = self._boot()
        self._journal.step(
            op.HANDING_OVER,
            op.RESTARTING,
            undo=Undo("release", operation.current_release or operation.current_version),
            boot_rebuilt=boot.rebuilt if boot is not None else None,
        )
        nxt = Next(
            operation_id=operation.operation_id,
            kind=operation.kind,
            release=target.release,
            digest=target.digest,
            named=operation.request.version is not None,
        )
        if self._launcher.hand_over(nxt):
            self._proving()
            return 0
        if self._launcher.alive():
            self._log.line("handed over, but the launcher has not looked yet: it decides then")
            return 1
        self._log.line("handed over, and no launcher runs: decided at the next start")
        return 0

    def _proving(self) -> None:
        """The launcher has it: what cannot be noted any more changes nothing."""
        try:
            self._journal.step(op.PROVING)
        except (HostError, LostError):
            self._log.line("the trial is noted by nobody: the verdict will be")

    # --- when it fails --------------------------------------------------------------------------

    def _failed(self, sentence: str) -> int:
        """Record the failure, if the disk takes it; else whoever settles says that it ended."""
        try:
            self._clean_up()
            if self._journal.operation.phase == op.RESTARTING:
                record = recovery.settle_locked(
                    self._home, self._store, None, self._launcher.alive(), sentence
                )
                return 0 if record is None or record.exit_code is None else record.exit_code
            self._journal.finish(op.FAILED, sentence)
        except (HostError, LostError) as error:
            self._log.line(f"failed: {sentence} (and that was not recorded: {error})")
        return 1

    def _clean_up(self) -> None:
        """Take away what only this operation had added: first, so that the disk has room for
        the record of it."""
        if self._added:
            releases.remove(self._home, self._added)


def is_proven(name: str, boot: BootRecord | None) -> bool:
    """Whether the launcher takes this release, which runs, for the proven one."""
    return boot is None or boot.current in (None, name)


def refuse_target(
    current: str, request: Request, version: str, rejected: bool, tagged: bool = False
) -> None:
    """Raise RefusedError for a target that only a more explicit request may have; `tagged`: of a
    checkout."""
    command = versions.naming(version, tagged, request.itself)
    known = versions.is_version(current) and versions.is_version(version)
    downgrade = known and versions.is_downgrade(current, version)
    if downgrade and not request.allow_downgrade:
        raise RefusedError(
            "downgrade",
            f"{version} is below {current}, which runs; to go down all the same: {command} "
            "--allow-downgrade",
        )
    if rejected and request.version is None:
        force = " --allow-downgrade" if downgrade else ""
        again = f"name it: {command}{force}" if known else "give its commit a tag, and name that"
        raise RefusedError(
            "rejected",
            f"{version} failed here before, or was rolled back from; to try it again, {again}",
        )

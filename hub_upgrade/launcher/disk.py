"""What the launcher reads and writes under `home`, with every refusal turned into words."""

from __future__ import annotations

import os
import time

from hub_upgrade.domain import boot
from hub_upgrade.domain.boot import Action, World
from hub_upgrade.domain.boot_record import BootRecord, Next, Release, Trial
from hub_upgrade.host import boot_store, files, operation_log, processes, releases
from hub_upgrade.host.files import Lock, Unreadable
from hub_upgrade.host.look import url_of
from hub_upgrade.launcher.child import Child
from hub_upgrade.launcher.place import Place, drop_private, say, whole_factory
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import Any
from hub_upgrade.version import LAUNCHER_PROTOCOL, VERSION

TRIAL_LOG_BYTES = 1024 * 1024
COMPLAIN_EVERY_S = 60.0


class Disk:
    """The launcher's side of `home`; where home is no use it remembers, and says so."""

    def __init__(self, place: Place, settings: Settings, proving: bool) -> None:
        self._place = place
        self._home = place.home
        self._settings = settings
        self._proving = proving
        self._boot_signature: tuple[int, ...] | None = None
        self._complained: dict[str, float] = {}
        self._found: dict[str, Release] = {}
        self._serve_json: dict[str, Any] = {}
        self._serve_signature: tuple[int, ...] | None = None

    # --- reading --------------------------------------------------------------------------------

    def record(self) -> BootRecord:
        """The record as it lies there, or made anew from the markers."""
        try:
            found = boot_store.read_boot(self._home)
        except Unreadable as error:
            say(f"passed over: {error}")
            found = None
        if found is not None:
            self._boot_signature = _signature(self._home.boot_json)
            return found
        bad = releases.bad_digests(self._home)
        made = boot.rebuilt(self.world().releases, bad, files.now_rfc3339())
        if made.current is not None:
            say(f"boot.json was made anew: {made.current} is the best release ever proven")
        return made

    @property
    def has_record(self) -> bool:
        """Whether `boot.json` is there as far as we know: read, or written by us."""
        return self._boot_signature is not None

    def world(self) -> World:
        """What the disk holds now, or held when last seen; what cannot be run is said once."""
        try:
            self._found = releases.find(self._home)
        except OSError as error:
            self.complain(f"{self._home.releases} cannot be looked at now: {error.strerror}")
        for release in self._found.values():
            if not release.whole:
                self.complain(f"passed over {release.name}: it is missing or damaged")
        return World(self._found, self._place.factory, self._settings.tries, files.now_rfc3339())

    def path(self, name: str) -> str:
        """The file of a release; the factory's may lie in a place of its own."""
        if name == self._place.factory.name:
            return whole_factory(self._place)
        return releases.path_of(self._home, name)

    def next(self) -> Next | None:
        """What a helper handed over; what cannot be read is moved aside: nothing waits for it."""
        if self._place.trouble:
            return None
        try:
            return boot_store.read_next(self._home)
        except Unreadable as error:
            if error.passing:
                self.complain(str(error))
                return None
            say(f"passed over: {error}")
            try:
                files.move_aside(self._home.next_json)
            except OSError as problem:
                self.complain(f"{self._home.next_json} cannot be moved aside: {problem.strerror}")
            return None

    # --- writing --------------------------------------------------------------------------------

    def charge(self, record: BootRecord) -> str:
        """Make a charged try durable, then take its `next.json` away; why not, or nothing.

        One that stays is a refusal too: should `boot.json` be lost with the verdict in it, it
        would be taken for something new. One of another operation is none of this trial's.
        """
        why = self._write_boot(record)
        nxt = None if why else self.next()
        if nxt is None or record.trial is None or nxt.operation_id != record.trial.operation_id:
            return why
        try:
            boot_store.remove_next(self._home)
        except OSError as error:
            return f"{self._home.next_json} cannot be removed: {error.strerror}"
        return ""

    def remove_next(self) -> None:
        """It is taken up already: should it stay, the record knows its operation."""
        try:
            boot_store.remove_next(self._home)
        except OSError as error:
            self.complain(f"{self._home.next_json} cannot be removed: {error.strerror}")

    def carry_out(self, action: Action, record: BootRecord) -> str:
        """One write of `Mind.todo`; why it cannot be done, or nothing."""
        if self._place.trouble:
            return ""  # obeyed in memory, which is all there is
        if action.verb == "record":
            return self._write_boot(record)
        try:
            if action.verb == "good":
                releases.mark_good(self._home, action.release, action.digest)
            elif action.verb == "unmark":
                releases.unmark(self._home, action.release)
            elif action.verb == "bad":
                releases.mark_bad(self._home, action.release, action.digest)
            elif action.verb == "unbad":
                releases.unmark_bad(self._home, action.release)
        except (FileNotFoundError, NotADirectoryError):
            return ""  # the release directory is gone: there is nothing to mark
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _write_boot(self, record: BootRecord) -> str:
        if self._place.trouble:
            return self._place.trouble
        try:
            files.make_directory(self._home.releases)
            boot_store.write_boot(self._home, record)
        except OSError as error:
            return error.strerror or str(error)
        self._boot_signature = _signature(self._home.boot_json)
        return ""

    def keep(self, record: BootRecord) -> None:
        """Write our files again when they were lost or changed: nobody else may write them."""
        if self._serve_json and _signature(self._home.serve_json) != self._serve_signature:
            self._write_serve()
        if self._place.trouble or self._boot_signature is None:
            return
        if _signature(self._home.boot_json) != self._boot_signature:
            why = self._write_boot(record)
            if why:
                self.complain(f"boot.json was lost and cannot be written again: {why}")
            else:
                say("boot.json was lost or changed by somebody else; it is written again")

    def prune(self, record: BootRecord, world: World) -> None:
        """Remove what nobody needs, if no operation is under way."""
        if self._place.trouble or record.trial is not None:
            return
        try:
            lock = Lock.try_take(self._home.operation_lock)
        except OSError:
            return
        if lock is None:
            return
        try:
            if not os.path.lexists(self._home.next_json):
                releases.prune(self._home, boot.kept(record, (), world))
        finally:
            lock.release()

    def trial_log(self, trial: Trial) -> tuple[int, int]:
        """A new `logs/trial-<id>.log` and its room in bytes; (-1, 0) where there is none."""
        if self._place.trouble:
            return -1, 0
        name = trial.operation_id or trial.release
        try:
            return operation_log.append_to(self._home, "trial", name), TRIAL_LOG_BYTES
        except OSError as error:
            self.complain(f"no trial-{name}.log: {error.strerror}")
            return -1, 0

    def serving(self, child: Child | None, instance: str) -> None:
        """Say in `serve.json` who serves; best effort, for people and the command line."""
        value = {
            "format": 1,
            "pid": os.getpid(),
            "start_time": processes.start_time(os.getpid()),
            "address": url_of(self._place.listener),
            "instance": instance,
            "launcher_version": VERSION,
            "protocol": LAUNCHER_PROTOCOL,
            "releases": self._settings.releases,
            "proving": self._proving,
            "hub_pid": child.pid if child else 0,
            "hub_start_time": child.start_time if child else None,
            "factory": self._place.original,
        }
        if not self._place.trouble and value != self._serve_json:
            self._serve_json = value
            self._write_serve()

    def _write_serve(self) -> None:
        """What the disk refuses is tried again every second."""
        self._serve_signature = None
        try:
            boot_store.write_serve(self._home, self._serve_json)
        except OSError as error:
            self.complain(f"serve.json cannot be written: {error.strerror}")
            return
        self._serve_signature = _signature(self._home.serve_json)

    def leave(self) -> None:
        """Nobody serves here any more."""
        drop_private(self._place.factory_path)
        if self._serve_json:
            try:
                files.remove_durably(self._home.serve_json)
            except OSError:
                pass  # it is believed only if /health agrees

    def complain(self, text: str) -> None:
        """Say it, but the same thing once a minute at most."""
        now = time.monotonic()
        if now - self._complained.get(text, -COMPLAIN_EVERY_S) >= COMPLAIN_EVERY_S:
            if len(self._complained) > 100:
                self._complained.clear()
            self._complained[text] = now
            say(text)


def _signature(path: str) -> tuple[int, ...]:
    try:
        found = os.lstat(path)
    except OSError:
        return ()
    # A file that nobody may read any more is as good as lost: hence the mode and the owner.
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode, found.st_uid)

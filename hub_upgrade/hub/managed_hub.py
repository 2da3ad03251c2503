"""The managed hub as the hub's loop knows it: its version by looking, the rest by a child."""

from __future__ import annotations

import json
import socket

from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.versions import told
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import interpreter, log
from hub_upgrade.host.children import ChildResult, OneShot
from hub_upgrade.host.files import Home
from hub_upgrade.host.look import Look, Seen
from hub_upgrade.host.loop import Loop, Timer
from hub_upgrade.upgrade.survey_record import Survey, from_wire

LOOK_EVERY_S = 2.0
DOWN_EVERY_S = 0.5
SURVEY_EVERY_S = 30.0
SURVEY_LIMIT_S = 30.0


class ManagedHub:
    """Looks every LOOK_EVERY_S, or DOWN_EVERY_S while nobody answers; a survey is made anew when
    something has changed, or is old."""

    def __init__(self, loop: Loop, home: Home, managed: Managed, program: str) -> None:
        self._loop = loop
        self._managed = managed
        self._argv = interpreter.command(program, "survey", "--config-dir", home.root)
        self._known: Survey | None = None
        self._asked_at = float("-inf")
        self._asking = False
        self._again = False
        self._next: Timer | None = None
        self.version = ""

    def start(self) -> None:
        """Look from now on."""
        self.refresh()
        self._look()

    def changed(self) -> None:
        """Something has happened to it: look at once."""
        if self._next is not None:
            self._next.cancel()
            self._look()
        self.refresh()

    def survey(self) -> Survey:
        """What is known, with the version that ran a moment ago; raises RefusedError for nothing
        yet, or only that it did not run when it does."""
        known = self._known
        if known is None or (is_down(known) and (self._asking or self.version)):
            sentence = "the hub is being looked at; try again in a moment"
            raise RefusedError("overloaded", sentence, 503)
        return known._replace(version=self.version)

    def refresh(self) -> None:
        """Find out anew; once more afterwards, if that is under way."""
        self._again = self._asking
        if self._asking:
            return
        self._asked_at = self._loop.now()
        try:
            OneShot(self._loop, self._argv, None, SURVEY_LIMIT_S, self._surveyed)
            self._asking = True
        except OSError as error:
            log.say("hub", f"the hub cannot be looked at: {error.strerror}", log.WARNING)

    def _surveyed(self, result: ChildResult) -> None:
        self._asking = False
        try:
            seen = from_wire(json.loads(result.stdout.decode("utf-8")))
            if self._known is not None and is_down(seen):
                # It is being restarted, say: where it lies has not changed by that.
                seen = seen._replace(decision=self._known.decision)
            self._known, self.version = seen, seen.version
        except (ValueError, KeyError, TypeError):
            last = result.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            log.say("hub", f"the hub could not be looked at: {last}", log.WARNING)
        if self._again:
            self.refresh()

    def _look(self) -> None:
        self._next = None
        host, port = self._managed.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            Look(self._loop, family, (host, port), self._looked, self._managed.health_path)
        except OSError as error:  # no descriptor to be had, or no IPv6 on this machine
            self._looked(Seen(0, {}, error.strerror or ""))

    def _looked(self, seen: Seen) -> None:
        version = told(seen.body.get(self._managed.version_field))
        old = self._loop.now() - self._asked_at > SURVEY_EVERY_S
        if version != self.version or old:
            self.version = version
            self.refresh()
        wait_s = LOOK_EVERY_S if version else DOWN_EVERY_S
        self._next = self._loop.call_later(wait_s, self._look)


def is_down(seen: Survey) -> bool:
    """Whether nobody was there."""
    return not seen.pid and not seen.version

"""The launcher: events from the loop -> `boot.decide` -> actions, and nothing that thinks.

It holds the listening socket and `serve.lock` as long as it lives, starts a release, judges a
trial through its own listener, and brings the last good release back (contract, section 8).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from hub_upgrade.domain import boot, probation
from hub_upgrade.domain.boot import Action, Event, Mind, World
from hub_upgrade.domain.probation import Expected, Probation
from hub_upgrade.host import processes, releases
from hub_upgrade.host.look import Seen
from hub_upgrade.host.loop import READ, Loop
from hub_upgrade.launcher import disk
from hub_upgrade.launcher.child import Child
from hub_upgrade.launcher.deadlines import Deadlines
from hub_upgrade.launcher.eye import Eye
from hub_upgrade.launcher.manager import Manager
from hub_upgrade.launcher.place import Place, say
from hub_upgrade.settings import RELEASES, Settings

TICK_S = 1.0
TRUSTED_READY_S = 5.0
"""What is trusted has at least so long to serve: no `ready_timeout_s` may end every start."""
END_S = 2.0
"""How long a rejected release may take to leave before it is killed: connections wait meanwhile."""
MOST_MESSAGES = 256
PUZZLE_S = 2.0
"""How long after a trial's own SIGTERM ours may come, when one stop reaches both processes."""
HANDOFF_GRACE_S = 5.0
STOP_MARGIN_S = 1.0
ONE_PRESS_S = 0.3
"""One press of Ctrl-C may come twice: from the terminal, and from a parent that forwards it."""
CALM_S = 60.0
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0
NEEDS_DISK = frozenset(
    {"boot", "charged", "uncharged", "healthy", "unhealthy", "hung", "not-ready", "handoff-failed",
     "exited", "again", "alone"}
)  # fmt: skip


class Launcher:
    """One launcher, from its first start of a hub to the end of its last."""

    def __init__(
        self, settings: Settings, place: Place, loop: Loop, *, forced: bool, proving: bool
    ) -> None:
        self.settings = settings
        self.place = place
        self.loop = loop
        self.proving = proving
        self.forced = forced
        self.mind = Mind()
        self.child: Child | None = None
        self.exit_code = 0
        self._deadlines = Deadlines(loop)
        self._eye = Eye(loop, place.listener, self._deadlines)
        self._manager = Manager(loop)
        self._disk = disk.Disk(place, settings, proving)
        self._world = World({}, place.factory)
        self._queue: list[Event] = []
        self._probation: Probation | None = None
        self._watchdog = loop.now()
        self._to_tell = False
        self._stop_asked = float("-inf")
        self._last_words: tuple[str, ...] = ()

    # --- life -----------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until somebody asks for the end; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup(1)
                self.loop.on_signal(number, self._asked_to_stop)
        self.loop.on_signal(signal.SIGUSR1, self._tick)
        self.loop.reap_orphans = os.getpid() == 1
        self.loop.on_late(self._slept)
        self._deadlines.start("tick", TICK_S, self._every_second)
        record = self._disk.record()
        self.mind = boot.awake(record, self._disk.has_record)
        if self.proving and not self._pending():
            return 0
        self._disk.serving(None, "")  # a hub reads there where releases come from: so before it
        self.feed(Event("boot", nxt=self._next(), forced=self.forced))
        self.loop.run()
        # An interpreter that ends gives signals back their defaults: one more press would kill it.
        signal.pthread_sigmask(signal.SIG_BLOCK, processes.HELD_SIGNALS)
        self._deadlines.clear_all()
        self._disk.leave()
        return self.exit_code

    def _asked_to_stop(self) -> None:
        now = self.loop.now()
        if now - self._stop_asked > ONE_PRESS_S:
            self._stop_asked = now
            self.feed(Event("stop"))

    def feed(self, event: Event) -> None:
        """Take in an event, and do all that follows from it before the next one."""
        self._queue.append(event)
        if len(self._queue) > 1:
            return  # we are inside of a decision: its loop below takes this one too
        while self._queue:
            event = self._queue[0]
            if event.kind in NEEDS_DISK or event.nxt is not None:
                self._world = self._disk.world()
            self.mind, actions = boot.decide(self.mind, event, self._world)
            self._flush()
            for action in actions:
                _VERBS[action.verb](self, action)
            self._queue.pop(0)
        over = self.mind.state in (boot.STOPPING, boot.GONE)
        if self.proving and not over and not self._pending():
            self.feed(Event("stop"))

    def _pending(self) -> bool:
        trial = self.mind.record.trial is not None or self.mind.wanted is not None
        return trial or bool(self.mind.todo) or self._next() is not None

    def _flush(self) -> None:
        """Write what was decided; what the disk refuses is obeyed all the same, and tried again."""
        if not self.mind.todo:
            return
        for action in self.mind.todo:
            why = self._disk.carry_out(action, self.mind.record)
            if why:
                self._disk.complain(f"{action.verb} {action.release} cannot be written: {why}")
                return
            self.mind = boot.done(self.mind, action)
        self._disk.prune(self.mind.record, self._world)
        self._to_tell = True
        self._tell_settled()

    def _tell_settled(self) -> None:
        """A verdict is on the disk: let the hub that serves write the record without waiting."""
        if self._to_tell and self.child is not None and boot.may_tell(self.mind):
            self._to_tell = False
            self.child.signal(signal.SIGUSR1)

    # --- every second ---------------------------------------------------------------------------

    def _every_second(self) -> None:
        self._deadlines.start("tick", TICK_S, self._every_second)
        if self.mind.state != boot.SERVING:
            self._manager.more_time()
        if self.child is not None:
            self.child.relay.flush()
        self._check_watchdog()
        if not self.mind.todo:  # else the record's turn comes after that of the markers
            self._disk.keep(self.mind.record)
        self._flush()
        self._tick()

    def _tick(self) -> None:
        if self.mind.state not in (boot.STOPPING, boot.GONE):
            self.feed(Event("tick", nxt=self._next()))

    def _next(self) -> boot.Next | None:
        """What a helper handed over; what the record knows already is only removed."""
        nxt = self._disk.next()
        if nxt is not None and self.mind.record.knows(nxt.operation_id):
            if RECORD not in self.mind.todo:
                self._disk.remove_next()
            return None
        return nxt

    def _check_watchdog(self) -> None:
        if self.child is None or self.mind.state != boot.SERVING:
            return
        limit = probation.TRIAL_HUNG_S if self.mind.on_trial else self.settings.watchdog_s
        silent = self.loop.now() - self._watchdog
        if silent > limit:
            self._eye.close()
            self.feed(self._about_child("hung", f"it hangs: no sign of life for {silent:.0f} s"))

    def _slept(self, gap: float) -> None:
        """We woke late: nobody else is to blame for that time."""
        say(f"woke {gap:.1f} s late; every deadline is moved by that")
        self._deadlines.shift(gap)
        self._watchdog += gap
        if self._probation is not None:
            self._probation = probation.slept(self._probation, gap)
        self._eye.slept(gap)

    # --- the child ------------------------------------------------------------------------------

    def _start(self, action: Action) -> None:
        self._eye.close()
        env = {
            "PARACHUTE_HOME": self.settings.home.root,
            RELEASES: self.settings.releases or "",  # a full disk may take no serve.json
        }
        if self.place.trouble:
            env["PARACHUTE_HUB_TROUBLE"] = self.place.trouble
        lock_fd = self.place.lock.fd if self.place.lock is not None else -1
        path = self._disk.path(action.release)
        try:
            child = Child(self.loop, path, self.place.listener, lock_fd, env, self._exited)
        except OSError as error:  # no fork to be had: the machine's trouble, not the release's
            self.feed(Event("not-started", error.strerror or str(error)))
            return
        self.child = child
        self.loop.watch(child.receiver.fileno(), READ, lambda _events: self._notified())
        if self.mind.on_trial and self.mind.record.trial is not None:
            child.relay.begin(*self._disk.trial_log(self.mind.record.trial))
        self._disk.serving(child, "")
        self._await_ready()

    def _await_ready(self) -> None:
        limit = self.settings.ready_timeout_s
        if not self.mind.on_trial:
            limit = max(limit, TRUSTED_READY_S)
        text = f"it was not ready within {limit:g} s"
        self._deadlines.start(
            "ready", limit, lambda: self.feed(self._about_child("not-ready", text))
        )

    def _about_child(self, kind: str, text: str, asked: bool = False) -> Event:
        output: tuple[str, ...] = ()
        if self.child is not None:
            self.child.relay.drain()
            output = self.child.relay.tail()
        return Event(kind, text, asked=asked, output=output)

    def _notified(self) -> None:
        child = self.child
        for _ in range(MOST_MESSAGES):  # in bounded turns: talk without end holds up nobody
            message = child.receiver.receive() if child is not None else None
            if child is None or child is not self.child or message is None:
                return
            pid, fields = message
            if pid in (0, child.pid):
                self._believe(child, fields)

    def _believe(self, child: Child, fields: dict[str, str]) -> None:
        self._watchdog = self.loop.now()
        if fields.get("STOPPING") == "1":
            child.stopping = True
        if fields.get("RELOADING") == "1":
            self._reloading()
        if fields.get("ERRNO", "").isdecimal():
            why = fields.get("STATUS") or os.strerror(int(fields["ERRNO"][:6]))
            self._not_executed(why[:500])
        if fields.get("READY") == "1":
            self._ready()

    def _not_executed(self, why: str) -> None:
        """So it says; but it may be the trial that talks nonsense: see who answers."""
        if self.mind.state in (boot.HANDING, boot.RELOADING):
            self._eye.look(lambda seen: self._who_is_left(seen, why))

    def _who_is_left(self, seen: Seen, why: str) -> None:
        if self.mind.state not in (boot.HANDING, boot.RELOADING):
            return
        release = seen.body.get("release")
        if isinstance(release, str) and releases.is_named(self.mind.left, release):
            self._deadlines.clear("handoff", "ready")
            self.feed(self._about_child("handoff-failed", why))
            self._begin_to_look()
        elif release is None:  # no answer yet: the deadline of the handoff or of READY goes on
            self._eye.look_in(probation.LOOK_EVERY_S, lambda seen: self._who_is_left(seen, why))

    def _reloading(self) -> None:
        if self.mind.state != boot.HANDING:
            return
        self._deadlines.clear("handoff")
        self.feed(Event("reloading"))
        self._await_ready()

    def _ready(self) -> None:
        if self.mind.state == boot.HANDING:
            self._reloading()  # its RELOADING=1 was lost
        if self.mind.state not in (boot.STARTING, boot.RELOADING):
            return
        self._deadlines.clear("ready")
        self.feed(Event("ready"))
        self._deadlines.start("calm", CALM_S, lambda: self.feed(Event("calm")))
        self._manager.ready()
        self._begin_to_look()
        self._tell_settled()
        self._tick()

    def _exited(self, status: int) -> None:
        self._notified()  # what it said last comes before its end
        child = self.child
        if child is None:
            return
        asked = child.stopping or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM)
        event = self._about_child("exited", processes.describe_exit(status), asked)
        self.exit_code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        self._last_words = event.output
        self._eye.close()
        self._deadlines.clear("ready", "handoff", "end", "not-stopped", "calm")
        child.close()
        self.child = None
        self.feed(event)

    # --- looking at it --------------------------------------------------------------------------

    def _begin_to_look(self) -> None:
        self._probation = Probation(self.loop.now())
        self._eye.look(self._looked)

    def _looked(self, seen: Seen) -> None:
        trial, now = self.mind.record.trial, self.loop.now()
        if self.mind.state != boot.SERVING or self._probation is None or self.child is None:
            return
        instance = seen.body.get("instance")
        if seen.status == 200 and isinstance(instance, str):
            self._disk.serving(self.child, instance)
        if not self.mind.on_trial or trial is None:
            if seen.status != 200:
                self._eye.look_in(probation.LOOK_EVERY_S, self._looked)
            return
        expected = Expected(releases.version_of(trial.release) or "", trial.digest)
        self._probation, why = probation.looked(self._probation, expected, seen, now)
        if why:
            self.feed(self._about_child("unhealthy", why))
        elif probation.proven(self._probation, now, self.settings.probation_s):
            self.feed(Event("healthy"))
        elif probation.unprovable(self._probation, now, self.settings.probation_max_s):
            limit = self.settings.probation_max_s
            text = f"it could not be proven healthy within {limit:g} s ({seen.why or 'unsteady'})"
            self.feed(self._about_child("unhealthy", text))
        else:
            wait = probation.next_look_in(self._probation, now, self.settings.probation_s)
            self._eye.look_in(wait, self._looked)

    # --- the other verbs ------------------------------------------------------------------------

    def _charge(self, action: Action) -> None:
        wanted = self.mind.wanted
        if wanted is None:
            return
        why = self._disk.charge(wanted)
        self.feed(Event("uncharged", why) if why else Event("charged", action.text))

    def _tell(self, _action: Action) -> None:
        """From here on all output is taken for the trial's: one that dies at once may have
        printed all of it before we read its RELOADING=1."""
        trial = self.mind.record.trial
        if self.child is None or trial is None:
            return
        self._eye.close()
        self.child.relay.drain()
        self.child.relay.begin(*self._disk.trial_log(trial))
        limit = self.settings.drain_s + HANDOFF_GRACE_S
        text = f"the hub did not hand over within {limit:g} s"
        self._deadlines.start("handoff", limit, lambda: self.feed(Event("not-handed", text)))
        self.child.signal(signal.SIGUSR1)

    def _end(self, _action: Action) -> None:
        self._eye.close()
        self._deadlines.clear("ready", "handoff")
        if self.child is not None:
            self.child.signal(signal.SIGTERM)
            self._deadlines.start("end", END_S, self.child.kill)

    def _kill(self, _action: Action) -> None:
        self._eye.close()
        if self.child is not None:
            self.child.kill()

    def _signal(self, _action: Action) -> None:
        self._manager.stopping(self.settings.stop_s + STOP_MARGIN_S)
        self._eye.close()
        self._deadlines.clear("ready", "handoff", "end")
        if self.child is not None:
            self.child.signal(signal.SIGTERM)
            limit = max(0.1, self.settings.stop_s - STOP_MARGIN_S)
            self._deadlines.start("not-stopped", limit, lambda: self.feed(Event("not-stopped")))

    def _backoff(self, action: Action) -> None:
        delay = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(int(action.text), 20) / 2)
        self._deadlines.start("again", delay, lambda: self.feed(Event("again")))

    def _puzzle(self, _action: Action) -> None:
        event = Event("alone", output=self._last_words)
        self._deadlines.start("puzzle", PUZZLE_S, lambda: self.feed(event))

    def _log(self, action: Action) -> None:
        say(action.text)

    def _complain(self, action: Action) -> None:
        self._disk.complain(action.text)

    def _exit(self, _action: Action) -> None:
        self._manager.stopping()
        self._flush()
        self.loop.stop()


RECORD = boot.RECORD
_VERBS: dict[str, Callable[[Launcher, Action], None]] = {
    "charge": Launcher._charge,
    "start": Launcher._start,
    "tell": Launcher._tell,
    "end": Launcher._end,
    "kill": Launcher._kill,
    "signal": Launcher._signal,
    "backoff": Launcher._backoff,
    "puzzle": Launcher._puzzle,
    "log": Launcher._log,
    "complain": Launcher._complain,
    "exit": Launcher._exit,
}

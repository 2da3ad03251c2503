"""What must hold in every state holds in every reachable one, and fails without its rule.

`make test` explores one fault, `make crash` two and, with FULL=1, three (test_crash_model).
"""

from __future__ import annotations

import unittest
from typing import Any, Callable
from unittest import mock

from hub_upgrade.domain import boot, boot_choice, settle, transitions, verdicts
from hub_upgrade.domain.boot import Action, Event, Mind, World
from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.domain.mind import start_best
from hub_upgrade.domain.operation import Operation
from tests.domain import model_steps
from tests.domain.explore import Exploration
from tests.domain.model import Limits, State

Decided = tuple[Mind, "list[Action]"]
ONE_FAULT = (
    Limits(faults=1, stops=0, second=("rollback", "named"), new_factory=False),
    Limits(faults=1, stops=1, second=("again",), new_factory=False),
    Limits(faults=1, stops=0, second=(), new_factory=True),
    Limits(faults=0, stops=2, second=("rollback", "other"), new_factory=True),
)


class EveryState(unittest.TestCase):
    def test_the_nine_sentences_hold_with_one_fault(self) -> None:
        total = 0
        for limits in ONE_FAULT:
            with self.subTest(limits=limits):
                found = Exploration(limits).run()
                total += found.states
                self.assertIsNone(found.violation, found.violation)
        print(f"domain.boot and domain.settle: {total} states, every sentence holds in each")
        self.assertGreater(total, 50_000)


def handler(kind: str, decide: Callable[[Mind, Event, World], Decided]) -> Any:
    return mock.patch.dict(boot._HANDLERS, {kind: decide})


def deaf(mind: Mind, _event: Event, _world: World) -> Decided:
    return mind, []


def only_current(
    record: BootRecord, world: World, _passed_over: tuple[str, ...]
) -> tuple[str, list[str]]:
    return record.current or world.factory.name, []


def without_bad_mark(*args: Any) -> tuple[BootRecord, tuple[Action, ...]]:
    record, marks = _rejected(*args)
    return record, tuple(mark for mark in marks if mark.verb != "bad")


def committed_when_ready(mind: Mind, event: Event, world: World) -> Decided:
    mind, actions = boot._ready(mind, event, world)
    mind, more = boot._healthy(mind, event, world)
    return mind, actions + more


def success_by_what_runs(record: Any, _boot: Any, _nxt: Any, running: Any, *rest: Any) -> Any:
    if record.target_release == running.release and record.phase == "restarting":
        return settle.Settled(transitions.finish(record, "succeeded", ""), "it runs")
    return _settle(record, _boot, _nxt, running, *rest)


def only_verdicts(record: Operation, found: Any, *rest: Any) -> Any:
    if isinstance(found, BootRecord) and found.verdict_on(record.operation_id):
        return _settle(record, found, *rest)
    return settle.Settled(record, "no verdict")


def never_busy(state: State) -> bool:
    hub, free = state.hub, state.helper is None and state.settling is None
    return hub is not None and hub.phase == "ready" and free and state.boot is not None


def stop_for_good(mind: Mind, event: Event, world: World) -> Decided:
    return boot._stop(mind._replace(charged=False), event, world)


def every_end_is_a_failure(mind: Mind, event: Event, world: World) -> Decided:
    return boot._exited(mind, event._replace(asked=False), world)


def start_beside(mind: Mind, event: Event, world: World) -> Decided:
    mind, actions = boot._unhealthy(mind, event, world)
    mind, more = start_best(mind, world)
    return mind, actions + more


def always_news(record: BootRecord, world: World) -> bool:
    return world.factory.name != record.current


def kept_but_previous(record: BootRecord, _running: Any, world: World) -> set[str]:
    return {world.factory.name, record.current or ""}


def awake_silent(record: BootRecord, _on_disk: bool) -> Mind:
    return Mind(record=record)


def tell_always(mind: Mind) -> bool:
    return mind.state == boot.SERVING


_rejected, _settle = verdicts.rejected, settle.settle
QUIET = Limits(faults=0, stops=0, second=(), new_factory=False)
LOSS = Limits(faults=1, stops=1, second=("again",), kinds=("lose",), new_factory=False)

WITHOUT_ITS_RULE: list[tuple[int, str, Any, Limits]] = [
    (1, "a hub that died is started again", handler("again", deaf),
     QUIET._replace(faults=1, kinds=("kill hub",))),
    (1, "what is missing is passed over", mock.patch.object(boot_choice, "best", only_current),
     QUIET._replace(faults=1, stops=1, kinds=("lose",))),
    (2, "a rejection leaves a mark that outlives boot.json",
     mock.patch.object(verdicts, "rejected", without_bad_mark), LOSS),
    (2, "a rejection is remembered", mock.patch.object(verdicts, "plus", lambda items, _: items),
     QUIET._replace(second=("again",))),
    (2, "only probation commits", handler("ready", committed_when_ready), QUIET),
    (3, "what is handed over or on trial is not failed yet",
     mock.patch.object(settle, "_waiting", lambda *_: ""), QUIET),
    (3, "success is the commit, not what runs",
     mock.patch.object(settle, "settle", success_by_what_runs), QUIET),
    (4, "an operation whose helper died is failed",
     mock.patch.object(settle, "settle", only_verdicts),
     QUIET._replace(faults=1, kinds=("kill helper",))),
    (4, "what was handed over is taken up", handler("tick", deaf), QUIET),
    (4, "a record made anew is written", mock.patch.object(boot, "awake", awake_silent), LOSS),
    (5, "nothing is accepted while something is pending",
     mock.patch.object(model_steps, "claimable", never_busy), QUIET._replace(second=("again",))),
    (6, "a stop gives the try back", handler("stop", stop_for_good), QUIET._replace(stops=2)),
    (6, "an end that looks like a stop rejects nothing",
     handler("exited", every_end_is_a_failure), QUIET._replace(faults=1, kinds=("asked",))),
    (6, "a hub is not told of a trial that is not charged",
     mock.patch.object(boot, "may_tell", tell_always),
     QUIET._replace(faults=1, stops=1, kinds=("full",))),
    (7, "the next hub waits for the end of the one before", handler("unhealthy", start_beside),
     QUIET),
    (8, "a factory is tried once", mock.patch.object(boot_choice, "factory_is_news", always_news),
     QUIET._replace(stops=2, new_factory=True)),
    (9, "previous is kept", mock.patch.object(boot, "kept", kept_but_previous),
     QUIET._replace(second=("other",))),
]  # fmt: skip


class EverySentence(unittest.TestCase):
    def test_each_is_seen_to_fail_when_its_rule_is_taken_out(self) -> None:
        for sentence, rule, patch, limits in WITHOUT_ITS_RULE:
            with self.subTest(sentence=sentence, rule=rule), patch:
                found = Exploration(limits, live=sentence in (1, 4), most=100_000).run()
                broken = found.violation.sentence if found.violation else None
                self.assertEqual(broken, sentence, found.violation)

    def test_each_holds_with_the_very_limits_under_which_it_was_seen_to_fail(self) -> None:
        for limits in {limits for _sentence, _rule, _patch, limits in WITHOUT_ITS_RULE}:
            with self.subTest(limits=limits):
                self.assertIsNone(Exploration(limits, most=20_000).run().violation)


if __name__ == "__main__":
    unittest.main()

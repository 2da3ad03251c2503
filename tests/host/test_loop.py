from __future__ import annotations

import os
import signal
import time
import unittest
from typing import Callable
from unittest import mock

from hub_upgrade.host import loop as loop_module
from hub_upgrade.host.loop import LATE_S, LONGEST_SLEEP_S, READ, Loop, Timer

PATIENCE_S = 20.0


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Sleeper:
    """Instead of epoll: notes what was asked for, sleeps on the clock, and has nothing to say."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[float] = []
        self.sleeps: list[float] = []

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        self.asked.append(seconds)
        self.clock.now += self.sleeps.pop(0) if self.sleeps else seconds
        return []

    def close(self) -> None:
        pass


class LoopTest(unittest.TestCase):
    def setUp(self) -> None:
        before = {n: signal.getsignal(n) for n in (signal.SIGCHLD, signal.SIGUSR2)}
        self.addCleanup(lambda: [signal.signal(n, handler) for n, handler in before.items()])
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.happened: list[object] = []

    def note(self, what: object) -> Callable[[], None]:
        return lambda: self.happened.append(what)

    def until(self, count: int) -> list[object]:
        end = time.monotonic() + PATIENCE_S
        while len(self.happened) < count and time.monotonic() < end:
            self.loop.call_later(0.05, lambda: None)
            self.loop.turn()
        self.assertEqual(len(self.happened), count)
        return self.happened

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for end in ends:
            self.addCleanup(os.close, end)
        return ends

    def child(self, status: int) -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(status)
        return pid


class TimersTest(LoopTest):
    def test_timers_run_in_the_order_of_their_time(self) -> None:
        self.loop.call_later(0.5, self.note("second"))
        self.loop.call_later(0.001, self.note("first"))
        self.assertEqual(self.until(2), ["first", "second"])

    def test_a_timer_runs_once(self) -> None:
        self.loop.call_later(0, self.note("once"))
        for _ in range(3):
            self.loop.call_later(0, lambda: None)
            self.loop.turn()
        self.assertEqual(self.happened, ["once"])

    def test_a_cancelled_timer_never_runs_even_when_its_neighbour_cancels_it(self) -> None:
        other = self.loop.call_later(0, self.note("cancelled"))
        other.cancel()
        neighbours: list[Timer] = []

        def cancel() -> None:
            for timer in neighbours:
                timer.cancel()

        self.loop.call_later(0, cancel)
        neighbours.append(self.loop.call_later(0, self.note("cancelled by its neighbour")))
        self.loop.call_later(0.001, self.note("the end"))
        self.assertEqual(self.until(1), ["the end"])

    def test_a_timer_that_makes_one_due_at_once_lets_the_others_have_their_turn(self) -> None:
        def again() -> None:
            self.loop.call_later(0, again)

        read, write = self.pipe()
        self.loop.watch(read, READ, lambda _events: self.happened.append("read"))
        again()
        self.loop.turn()
        os.write(write, b".")
        self.loop.turn()
        self.assertEqual(self.happened, ["read"])

    def test_stop_ends_run_after_the_turn(self) -> None:
        self.loop.call_later(0, self.loop.stop)
        self.loop.call_later(0, self.note("the same turn"))
        self.loop.run()
        self.assertEqual(self.happened, ["the same turn"])


class LateTest(LoopTest):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.sleeper = Sleeper(self.clock)
        patch = mock.patch.object(loop_module, "time", self.clock)
        patch.start()
        self.addCleanup(patch.stop)
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.loop._poll.close()
        self.loop._poll = self.sleeper
        self.loop._epoll = True
        self.loop.on_late(lambda gap: self.happened.append(round(gap, 3)))

    def test_having_nothing_to_do_is_not_being_late(self) -> None:
        for _ in range(5):
            self.loop.turn()
        self.assertEqual(self.sleeper.asked, [LONGEST_SLEEP_S] * 5)
        self.assertEqual(self.happened, [])

    def test_it_sleeps_no_longer_than_until_the_next_timer(self) -> None:
        self.loop.call_later(0.25, self.note("due"))
        self.loop.turn()
        self.assertEqual((self.sleeper.asked, self.happened), ([0.25], ["due"]))

    def test_a_stop_during_the_wait_is_told_before_any_timer_runs(self) -> None:
        self.sleeper.sleeps = [30.0]
        self.loop.call_later(0.5, self.note("timer"))
        self.loop.turn()
        self.assertEqual(self.happened, [29.5, "timer"])

    def test_a_stop_between_two_waits_counts_too(self) -> None:
        self.loop.turn()
        self.clock.now += 30.0
        self.loop.turn()
        self.assertEqual(self.happened, [30.0])
        self.loop.turn()
        self.assertEqual(self.happened, [30.0])

    def test_a_stop_in_a_callback_counts_too(self) -> None:
        def stopped() -> None:
            self.clock.now += 30.0

        self.loop.call_later(0.5, stopped)
        self.loop.turn()
        self.loop.call_later(0.5, lambda: None)
        self.loop.turn()
        self.assertEqual(self.happened, [30.0])

    def test_many_short_stops_are_as_good_as_a_long_one_to_nobody(self) -> None:
        self.sleeper.sleeps = [LONGEST_SLEEP_S + LATE_S - 0.01] * 5
        for _ in range(5):
            self.loop.turn()
        self.assertEqual(self.happened, [])

    def test_a_late_handler_that_moves_a_deadline_saves_it(self) -> None:
        timer = self.loop.call_later(0.5, self.note("declared dead"))
        self.loop.on_late(lambda _gap: timer.cancel())
        self.sleeper.sleeps = [30.0]
        self.loop.turn()
        self.assertEqual(self.happened, [29.5])


class OrderTest(LoopTest):
    def test_what_has_arrived_is_heard_before_a_timer_that_is_over(self) -> None:
        read, write = self.pipe()
        self.loop.watch(read, READ, lambda _events: self.happened.append("read"))
        self.loop.call_later(0, self.note("timer"))
        os.write(write, b".")
        self.loop.turn()
        self.assertEqual(self.happened, ["read", "timer"])

    def test_a_signal_that_came_is_heard_before_a_timer_that_is_over(self) -> None:
        self.loop.on_signal(signal.SIGUSR2, self.note("signal"))
        self.loop.call_later(0, self.note("timer"))
        os.kill(os.getpid(), signal.SIGUSR2)
        self.loop.turn()
        self.assertEqual(self.happened, ["signal", "timer"])

    def test_what_arrived_is_heard_before_being_late_is_declared(self) -> None:
        read, write = self.pipe()
        self.loop.watch(read, READ, lambda _events: self.happened.append("read"))
        self.loop.on_late(lambda _gap: self.happened.append("late"))
        self.loop._awake -= 30
        os.write(write, b".")
        self.loop.turn()
        self.assertEqual(self.happened, ["read", "late"])

    def test_a_handler_that_unwatches_another_silences_it_in_the_same_turn(self) -> None:
        first, second = self.pipe(), self.pipe()
        for read, other in ((first[0], second[0]), (second[0], first[0])):
            self.loop.watch(read, READ, self.unwatching(other))
        for _, write in (first, second):
            os.write(write, b".")
        self.loop.turn()
        self.assertEqual(len(self.happened), 1)

    def unwatching(self, other: int) -> Callable[[int], None]:
        def heard(_events: int) -> None:
            self.happened.append("heard")
            self.loop.unwatch(other)

        return heard

    def test_unwatching_twice_or_what_was_never_watched_is_no_mistake(self) -> None:
        read, _ = self.pipe()
        self.loop.watch(read, READ, lambda _events: None)
        for _ in range(2):
            self.loop.unwatch(read)

    def test_the_end_of_a_pipe_is_heard(self) -> None:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.loop.watch(read, READ, lambda _events: self.happened.append(os.read(read, 10)))
        os.close(write)
        self.loop.turn()
        self.assertEqual(self.happened, [b""])


class SignalsTest(LoopTest):
    def test_a_signal_is_handled_in_a_turn_and_not_where_it_strikes(self) -> None:
        self.loop.on_signal(signal.SIGUSR2, self.note("handled"))
        os.kill(os.getpid(), signal.SIGUSR2)
        self.assertEqual(self.happened, [])
        self.assertEqual(self.until(1), ["handled"])

    def test_a_flood_of_one_signal_is_handled_at_least_once_and_blocks_nobody(self) -> None:
        self.loop.on_signal(signal.SIGUSR2, lambda: self.happened.append(1))
        for _ in range(100_000):
            signal.raise_signal(signal.SIGUSR2)
        self.loop.turn()
        self.assertGreaterEqual(len(self.happened), 1)

    def test_one_that_no_turn_has_handled_yet_is_told_of(self) -> None:
        self.loop.on_signal(signal.SIGUSR1, self.note("told"))
        self.assertFalse(self.loop.signalled())
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertTrue(self.loop.signalled())
        self.loop.turn()
        self.assertFalse(self.loop.signalled())
        self.assertEqual(self.happened, ["told"])

    def test_a_signal_held_back_until_the_handlers_stood_is_heard(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        os.kill(os.getpid(), signal.SIGUSR2)
        self.loop.on_signal(signal.SIGUSR2, self.loop.stop)
        self.loop.call_later(PATIENCE_S, self.note("too late"))
        self.loop.call_later(PATIENCE_S, self.loop.stop)
        self.loop.run()
        self.assertEqual(self.happened, [])


class ExitsTest(LoopTest):
    def test_an_exit_is_reported_with_its_real_status(self) -> None:
        self.loop.on_exit(self.child(7), self.happened.append)
        status = self.until(1)[0]
        assert isinstance(status, int)
        self.assertEqual(os.WEXITSTATUS(status), 7)

    def test_a_child_that_was_killed_is_reported_as_killed(self) -> None:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        self.loop.on_exit(pid, self.happened.append)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.until(1), [signal.SIGKILL.value])

    def test_a_child_that_ended_before_anyone_listened_is_reported(self) -> None:
        pid = self.child(3)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.loop.on_exit(pid, self.happened.append)
        self.assertEqual(self.until(1), [3 << 8])

    def test_many_ends_at_once_are_each_reported_with_their_own_status(self) -> None:
        for status in range(20):
            self.loop.on_exit(self.child(status), self.happened.append)
        self.assertEqual(sorted(map(str, self.until(20))), sorted(str(n << 8) for n in range(20)))

    def test_only_own_children_are_reaped_unless_all_orphans_are_ours(self) -> None:
        stranger = self.child(5)
        self.loop.on_exit(self.child(0), self.happened.append)
        self.until(1)
        self.assertEqual(os.waitpid(stranger, 0)[1], 5 << 8)

    def test_as_the_first_process_every_orphan_is_reaped(self) -> None:
        self.loop.reap_orphans = True
        stranger = self.child(5)
        os.waitid(os.P_PID, stranger, os.WEXITED | os.WNOWAIT)
        self.loop.on_exit(self.child(7), self.happened.append)
        self.assertEqual(self.until(1), [7 << 8])
        with self.assertRaises(ChildProcessError):
            os.waitpid(stranger, 0)


if __name__ == "__main__":
    unittest.main()

"""More clients than room: who gets a turn, and who has to leave for whom."""

from __future__ import annotations

import os
import socket
import unittest
from unittest import mock

from hub_upgrade.web import crowd
from hub_upgrade.web.limits import Limits
from hub_upgrade.web.messages import Request, Response
from tests.web.harness import Client, WebTest, World, descriptors, echo
from tests.web.test_connections import BIG, POST, big

HALF = b"GET /half HTTP/1.1\r\nHost: lo"
PATIENT = Limits(connections=3, grace_s=1000)


def whole(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class FullHouseTest(WebTest):
    def arrived(self, world: World, number: int) -> None:
        world.until(lambda: world.connections.count() == number)
        world.turn(2)

    def aged(self, world: World, client: Client, by: float) -> None:
        """Make it look as if its state had not changed for so long."""
        port = client.sock.getsockname()[1]
        for connection in world.connections._open.values():
            if connection.sock.getpeername()[1] == port:
                connection.since -= by

    def test_the_oldest_of_those_who_never_said_anything_leaves_first(self) -> None:
        world = self.world(limits=PATIENT)
        idle = world.client().get()
        idle.answer()
        first = world.client()
        self.arrived(world, 2)
        second = world.client()
        self.arrived(world, 3)
        for client, age in ((idle, 5000), (first, 200), (second, 150)):
            self.aged(world, client, age)
        self.assertEqual(world.client().get().answer()[0], 200)
        self.assertTrue(first.is_closed())
        self.assertEqual(first.buffer, b"")
        self.assertEqual(second.get().answer()[0], 200)
        self.assertEqual(idle.get().answer()[0], 200)

    def test_then_the_one_that_is_idle_for_longest(self) -> None:
        world = self.world(limits=PATIENT._replace(grace_s=1))
        clients = [world.client().get() for _ in range(3)]
        for client in clients:
            client.answer()
        slow = clients.pop(0)
        slow.send(HALF)
        self.arrived(world, 3)
        for client, age in ((slow, 50), (clients[0], 20), (clients[1], 10)):
            self.aged(world, client, age)
        self.assertEqual(world.client().get().answer()[0], 200)
        self.assertTrue(clients[0].is_closed())
        self.assertEqual(clients[1].get().answer()[0], 200)
        self.assertEqual(slow.send(b"calhost\r\n\r\n").answer()[2], b"GET /half ")

    def test_then_a_request_that_does_not_come_to_an_end(self) -> None:
        """Before a client that was served a moment ago, and is only between two requests."""
        world = self.world(limits=PATIENT._replace(grace_s=1000))
        busy = world.client().get()
        busy.answer()
        slow = [world.client().send(HALF) for _ in range(2)]
        self.arrived(world, 3)
        for client, age in ((busy, 500), (slow[1], 2000)):
            self.aged(world, client, age)
        self.assertEqual(world.client().get().answer()[0], 200)
        self.assertEqual(slow[1].answer()[0], 503)
        self.assertTrue(slow[1].is_closed())
        self.assertFalse(slow[0].hears_the_end())
        self.assertEqual(busy.get().answer()[0], 200)

    def test_then_an_answer_that_nobody_takes(self) -> None:
        world = self.world(big, PATIENT._replace(connections=1, grace_s=1))
        deaf = world.client().get()
        self.arrived(world, 1)
        self.aged(world, deaf, 2)
        self.assertEqual(len(world.client().get().answer()[2]), BIG)
        world.until(deaf.hears_the_end)
        self.assertLess(len(deaf.buffer), BIG)

    def test_an_idle_one_leaves_before_anybody_is_turned_away(self) -> None:
        world = self.world(limits=PATIENT)
        idle = world.client().get()
        idle.answer()
        slow = [world.client().send(HALF) for _ in range(2)]
        self.arrived(world, 3)
        for client, age in ((idle, 200), (slow[0], 900), (slow[1], 900)):
            self.aged(world, client, age)
        self.assertEqual(world.client().get().answer()[0], 200)
        self.assertTrue(idle.is_closed())
        self.assertFalse(any(client.hears_the_end() for client in slow))

    def test_one_that_was_refused_leaves_before_anybody_is_turned_away(self) -> None:
        world = self.world(limits=PATIENT)
        refused = world.client().send(b"nonsense\r\n\r\n")
        slow = [world.client().send(HALF) for _ in range(2)]
        self.arrived(world, 3)
        self.assertEqual(refused.answer()[0], 400)
        self.assertEqual(world.client().get().answer()[0], 200)
        self.assertFalse(any(client.hears_the_end() for client in slow))

    def test_nobody_leaves_in_the_moment_after_coming_or_after_an_answer(self) -> None:
        """The next request may be on its way, and nobody is to be pushed out by a mere flood."""
        world = self.world(limits=PATIENT)
        served = world.client().get()
        served.answer()
        here = [served, world.client(), world.client()]
        self.arrived(world, 3)
        self.assertEqual(world.client().get().answer()[0], 503)
        for client in here:
            self.assertEqual(client.get().answer()[0], 200)

    def test_where_everybody_is_at_work_503_at_once_and_service_again_afterwards(self) -> None:
        world = self.world(limits=PATIENT)
        here = [world.client().send(POST) for _ in range(3)]
        self.arrived(world, 3)
        for _ in range(3):
            late = world.client().get()
            status, headers, body = late.answer()
            self.assertEqual((status, headers["connection"]), (503, "close"))
            self.assertEqual(headers["retry-after"], "1")
            self.assertIn(b'"overloaded"', body)
            self.assertTrue(late.is_closed())
        self.assertEqual(here[0].send(b"hello").answer()[2], b"POST /p hello")
        here[0].sock.close()
        world.until(lambda: world.connections.count() == 2)
        self.assertEqual(world.client().get().answer()[0], 200)

    def test_those_turned_away_are_bounded_too_and_all_are_told(self) -> None:
        world = self.world(limits=PATIENT._replace(turned_away=2))
        for _ in range(3):
            world.client().send(POST)
        self.arrived(world, 3)
        before = descriptors()
        late = [world.client().get() for _ in range(10)]
        world.until(lambda: all(client.has_answer() for client in late))
        self.assertEqual({client.answer()[0] for client in late}, {503})
        self.assertLessEqual(descriptors() - before, 10 + 2)

    def test_descriptors_that_are_all_taken_make_room_as_a_full_house_does(self) -> None:
        class Exhausted:
            def __init__(self, real: socket.socket) -> None:
                self.real = real
                self.left = 1

            def accept(self) -> tuple[socket.socket, object]:
                self.left -= 1
                if self.left == 0:
                    raise OSError(24, "too many open files")
                return self.real.accept()

            def fileno(self) -> int:
                return self.real.fileno()

        world = self.world()
        silent = world.client()
        self.arrived(world, 1)
        self.aged(world, silent, 2)
        world.connections._listener = Exhausted(world.listener)  # type: ignore[assignment]
        self.assertEqual(world.client().get().answer()[0], 200)
        self.assertTrue(silent.is_closed())

    def test_few_descriptors_mean_few_connections(self) -> None:
        for there, expected in ((100_000, 512), (-1, 512), (260, 100), (100, 16)):
            with mock.patch.object(os, "sysconf", lambda _name, there=there: there):
                self.assertEqual(crowd.affordable(512), expected)
        with mock.patch.object(os, "sysconf", side_effect=ValueError):
            self.assertEqual(crowd.affordable(512), 512)

    def test_what_the_kernel_keeps_of_a_connection_is_bounded(self) -> None:
        world = self.world()
        world.client().get().answer()
        sock = next(iter(world.connections._open.values())).sock
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.assertLessEqual(sock.getsockopt(socket.SOL_SOCKET, buffer), 128 * 1024)


class TurnsTest(WebTest):
    def test_who_sends_many_requests_at_once_does_not_hold_up_the_others(self) -> None:
        served: list[str] = []

        def respond(request: Request) -> Response:
            served.append(request.path)
            return echo(request)

        world = self.world(respond)
        greedy, modest = world.client(), world.client()
        world.until(lambda: world.connections.count() == 2)
        greedy.send(whole("/greedy") * 200)
        world.until(lambda: served)
        modest.send(whole("/modest"))
        for _ in range(3):
            world.loop.turn()
        self.assertIn("/modest", served)
        self.assertLess(len(served), 10 * crowd.TURN)
        bodies = {greedy.answer()[2] for _ in range(200)}
        self.assertEqual(bodies, {b"GET /greedy "})
        self.assertEqual(modest.answer()[2], b"GET /modest ")

    def test_of_many_who_do_so_each_has_its_turn(self) -> None:
        order: list[str] = []

        def respond(request: Request) -> Response:
            order.append(request.path)
            return echo(request)

        world = self.world(respond)
        clients = [world.client() for _ in range(40)]
        world.until(lambda: world.connections.count() == 40)
        for number, client in enumerate(clients):
            client.send(whole(f"/{number}") * 10)
        world.until(lambda: len(order) >= 40)
        before = len(order)
        world.loop.turn()
        self.assertLessEqual(len(order) - before, crowd.TURN)
        world.until(lambda: len(order) == 400)
        last_of_first_round = max(order.index(f"/{number}") for number in range(40))
        self.assertLess(last_of_first_round, 400 - 40)
        for number in range(40):
            self.assertEqual(order.count(f"/{number}"), 10)

    def test_between_two_turns_nothing_more_is_read(self) -> None:
        """Or whoever sends faster than it is answered would fill the memory."""
        longest = 0
        wanted: set[int] = set()

        def respond(request: Request) -> Response:
            nonlocal longest
            for connection in world.connections._open.values():
                longest = max(longest, len(connection.input))
                wanted.add(connection._events)
            return echo(request)

        world = self.world(respond)
        client = world.client()
        left = whole("/flood") * 3000
        answers = 0
        while answers < 3000:
            try:
                left = left[client.sock.send(left) :] if left else left
            except BlockingIOError:
                pass
            world.turn()
            answers += client.pull().count(b"GET /flood")
            client.buffer = b""
        self.assertLess(longest, 2 * 8192)
        self.assertIn(0, wanted, "the loop was told of what is not read, again and again")

    def test_stopping_in_the_middle_answers_one_more_and_closes(self) -> None:
        world = self.world()
        client = world.client().send(whole("/x") * 100)
        world.until(client.has_answer)
        done: list[int] = []
        world.connections.close_after_answers(lambda: done.append(1), 60)
        world.until(lambda: done)
        self.assertTrue(client.is_closed())
        self.assertTrue(client.buffer.count(b"connection: close") == 1, client.buffer[-300:])

    def test_a_client_that_resets_between_two_turns_hurts_nobody(self) -> None:
        world = self.world()
        client = world.client().send(whole("/x") * 100)
        world.until(client.has_answer)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sock.close()
        world.until(lambda: world.connections.count() == 0)
        self.assertEqual(world.client().get().answer()[0], 200)


if __name__ == "__main__":
    unittest.main()

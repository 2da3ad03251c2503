"""What a handoff takes along, from one Connections to another by real descriptors."""

from __future__ import annotations

import gc
import os
import socket
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.web import connections
from hub_upgrade.web.limits import Limits
from hub_upgrade.web.pipe import LINGERING
from tests.web.harness import Client, WebTest, World
from tests.web.test_connections import BIG, POST, big


class HandoffTest(WebTest):
    @staticmethod
    def arrived(world: World, number: int) -> None:
        world.until(lambda: world.connections.count() == number)

    def test_an_idle_connection_goes_on(self) -> None:
        old = self.world()
        client = old.client().get("/before")
        client.answer()
        new = self.cross(old)
        self.assertEqual(client.get("/after").answer()[2], b"GET /after ")
        connection = next(iter(new.connections._open.values()))
        self.assertEqual((connection.answered, connection.peer), (2, "127.0.0.1"))

    def test_a_request_cut_anywhere_is_answered_once(self) -> None:
        whole = POST + b"hello"
        for cut in range(1, len(whole)):
            old = self.world()
            client = old.client().send(whole[:cut])
            self.arrived(old, 1)
            self.cross(old)
            self.assertEqual(client.send(whole[cut:]).answer()[2], b"POST /p hello", cut)
            self.assertEqual(client.buffer, b"")

    def test_a_request_that_nobody_has_read_yet_stays_in_the_kernel(self) -> None:
        old = self.world()
        client = old.client().get()
        client.answer()
        client.get("/unread")

        def nothing_read(entry: dict[str, Any]) -> None:
            self.assertEqual(entry["input"], "")

        self.cross(old, change=nothing_read, turns=0)
        self.assertEqual(client.answer()[2], b"GET /unread ")

    def test_an_unsent_answer_and_the_requests_behind_it_arrive_whole(self) -> None:
        old = self.world(big)
        client = old.client().get("/big").get("/next").get("/last")
        self.cross(old)
        self.assertEqual(len(client.answer()[2]), BIG)
        self.assertEqual(client.answer()[2], b"GET /next ")
        self.assertEqual(client.answer()[2], b"GET /last ")

    def test_a_whole_request_in_memory_is_answered_by_the_new_image(self) -> None:
        def slip_in(entry: dict[str, Any]) -> None:
            entry["input"] = "R0VUIC9pbiBIVFRQLzEuMQ0KSG9zdDogbG9jYWxob3N0DQoNCg=="

        old = self.world()
        client = old.client()
        self.arrived(old, 1)
        self.cross(old, change=slip_in)
        self.assertEqual(client.answer()[2], b"GET /in ")

    def test_to_be_closed_after_its_answer_it_still_is(self) -> None:
        old = self.world(big)
        client = old.client().get(extra="Connection: close\r\n")
        self.cross(old)
        self.assertEqual(len(client.answer()[2]), BIG)
        self.assertTrue(client.is_closed())

    def test_100_continue_is_not_sent_twice(self) -> None:
        old = self.world()
        client = old.client().send(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.assertEqual(client.answer()[0], 100)
        new = self.cross(old)
        new.turn(3)
        self.assertEqual(client.send(b"hello").answer()[2], b"POST /p hello")

    def test_a_refused_client_still_gets_its_answer(self) -> None:
        old = self.world()
        client = old.client().send(b"nonsense\r\n\r\n" + b"x" * 50_000)
        self.arrived(old, 1)
        new = self.cross(old)
        states = [connection.state for connection in new.connections._open.values()]
        self.assertEqual(states, [LINGERING])
        self.assertEqual(client.answer()[0], 400)
        self.assertTrue(client.is_closed())

    def test_time_goes_on_where_it_was(self) -> None:
        def older(entry: dict[str, Any]) -> None:
            entry["age"] = 14.99

        old = self.world()
        client = old.client().send(b"GET / HT")
        self.arrived(old, 1)
        self.cross(old, change=older, limits=Limits(sweep_s=0.01))
        self.assertEqual(client.answer()[0], 408)

    def test_many_at_once_all_go_on_several_times(self) -> None:
        world = self.world()
        clients: list[Client] = [world.client() for _ in range(100)]
        for number, client in enumerate(clients):
            if number % 2:
                client.send(POST + b"he")
        self.arrived(world, 100)
        for _ in range(3):
            world = self.cross(world)
        for number, client in enumerate(clients):
            client.send(b"llo") if number % 2 else client.get("/idle")
        bodies = {client.answer()[2] for client in clients}
        self.assertEqual(bodies, {b"POST /p hello", b"GET /idle "})

    def test_without_a_handoff_everything_goes_on_as_before(self) -> None:
        world = self.world()
        half = world.client().send(POST)
        world.until(lambda: world.connections.count() == 1)
        record = world.connections.freeze()
        world.connections.close_after_answers(lambda: self.fail("it was called off"), 0.01)
        world.connections.unfreeze()
        self.assertFalse(os.get_inheritable(record[0]["fd"]))
        world.turn(20)
        status, headers, _ = half.send(b"hello").answer()
        self.assertEqual((status, headers.get("connection")), (200, None))

    def test_what_nobody_takes_goes_along_within_bounds(self) -> None:
        old = self.world(big)
        deaf = [old.client().get() for _ in range(3)]
        idle = old.client()
        self.arrived(old, 4)
        with mock.patch.object(connections, "MOST_UNSENT", 2 * BIG):
            new = self.cross(old)
        self.assertEqual(new.connections.count(), 3)
        for client in deaf[:2]:
            self.assertEqual(len(client.answer()[2]), BIG)
        self.assertTrue(deaf[2].is_closed())
        self.assertEqual(idle.get().answer()[0], 200)

    def test_a_burst_is_answered_by_both_images_without_a_gap(self) -> None:
        old = self.world()
        client = old.client()
        self.arrived(old, 1)
        request = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client.send(b"".join(request % number for number in range(100)))
        old.until(client.has_answer)
        self.cross(old, turns=0)
        for number in range(100):
            self.assertEqual(client.answer()[2], f"GET /{number} ".encode())

    def test_entries_without_sense_are_passed_over_and_their_descriptors_closed(self) -> None:
        world = self.world()
        pipe, other = os.pipe()
        mine, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        odd: list[Any] = [
            {},
            "seven",
            {"fd": "7"},
            {"fd": 0},
            {"fd": 99_999},
            {"fd": pipe},
            {"fd": os.dup(mine.fileno()), "input": "?", "age": "x"},
            {"fd": mine.detach(), "input": 5},
        ]
        world.connections.thaw(odd)
        gc.collect()
        self.assertEqual(world.connections.count(), 0)
        self.assertEqual(theirs.recv(1), b"")
        self.assertRaises(OSError, os.fstat, pipe)
        os.close(other)
        os.fstat(0)

    def test_fields_of_the_future_do_no_harm(self) -> None:
        def future(entry: dict[str, Any]) -> None:
            entry["colour"] = {"of": "the sky"}
            for key in ("peer", "answered", "age", "linger", "continued", "close", "output"):
                del entry[key]

        old = self.world()
        client = old.client().send(POST)
        self.arrived(old, 1)
        self.cross(old, change=future)
        self.assertEqual(client.send(b"hello").answer()[2], b"POST /p hello")


if __name__ == "__main__":
    unittest.main()

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from hub_upgrade.host.loop import WRITE
from hub_upgrade.web.connection import Connection
from hub_upgrade.web.connections import peer_of
from hub_upgrade.web.limits import Limits
from hub_upgrade.web.messages import Later, Request, Response, json_response
from tests.web.harness import WebTest, World, echo

POST = b"POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
QUICK = Limits(request_s=0.05, body_s=0.05, idle_s=0.05, write_s=0.05, linger_s=0.05, sweep_s=0.01)
BIG = 8 * 1024 * 1024


def big(_request: Request) -> Response:
    return Response(200, b"x" * BIG)


class RequestsTest(WebTest):
    def test_a_connection_is_used_again_and_again(self) -> None:
        client = self.world().client()
        for path in ("/a", "/a", "/b"):
            status, headers, body = client.get(path).answer()
            self.assertEqual((status, body), (200, f"GET {path} ".encode()))
            self.assertNotIn("connection", headers)

    def test_a_request_may_come_byte_by_byte(self) -> None:
        world = self.world()
        client = world.client()
        for byte in POST + b"hello":
            client.send(bytes([byte]))
            world.turn()
        self.assertEqual(client.answer()[2], b"POST /p hello")

    def test_requests_sent_at_once_are_answered_in_order(self) -> None:
        client = self.world().client()
        client.send(
            POST + b"first" + POST + b"other" + b"GET /z HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        self.assertEqual(
            [client.answer()[2] for _ in range(3)], [b"POST /p first", b"POST /p other", b"GET /z "]
        )

    def test_blank_lines_before_a_request_are_passed_over(self) -> None:
        client = self.world().client()
        self.assertEqual(client.send(b"\r\n\r\n\r\n").get("/a").answer()[2], b"GET /a ")
        self.assertEqual(client.send(b"\r\n").get("/a").answer()[2], b"GET /a ")

    def test_connection_close_is_obeyed(self) -> None:
        client = self.world().client().get(extra="Connection: Close\r\n")
        self.assertEqual(client.answer()[1]["connection"], "close")
        self.assertTrue(client.is_closed())

    def test_a_client_of_1_0_is_closed_unless_it_wants_to_stay(self) -> None:
        world = self.world()
        leaving = world.client().send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(leaving.answer()[1]["connection"], "close")
        self.assertTrue(leaving.is_closed())
        staying = world.client()
        for _ in range(2):
            staying.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            self.assertEqual(staying.answer()[1]["connection"], "keep-alive")

    def test_head_has_the_length_and_no_body(self) -> None:
        client = (
            self.world().client().send(b"HEAD /h HTTP/1.1\r\nHost: localhost\r\n\r\n").get("/a")
        )
        status, headers, _ = client.answer(of_head=True)
        self.assertEqual((status, headers["content-length"]), (200, "8"))
        self.assertEqual(client.answer()[2], b"GET /a ")

    def test_100_continue_is_sent_once_and_only_when_the_body_is_awaited(self) -> None:
        world = self.world()
        head = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-Continue\r\n\r\n")
        client = world.client().send(head)
        self.assertEqual(client.answer()[0], 100)
        client.send(b"he")
        world.turn(3)
        client.send(b"llo")
        self.assertEqual(client.answer()[2], b"POST /p hello")
        self.assertEqual(world.client().send(head + b"hello").answer()[0], 200)

    def test_what_is_refused_is_answered_and_closed_even_while_the_client_sends(self) -> None:
        client = self.world().client()
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n")
        client.send(b"x" * 100_000)
        self.assertEqual(client.answer()[0], 413)
        self.assertTrue(client.is_closed())

    def test_what_follows_a_refusal_is_never_taken_for_a_request(self) -> None:
        seen = []

        def respond(request: Request) -> Response:
            seen.append(request.path)
            return echo(request)

        client = self.world(respond).client()
        client.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.get("/smuggled")
        self.assertEqual(client.answer()[0], 411)
        self.assertTrue(client.is_closed())
        self.assertEqual((seen, client.buffer), ([], b""))

    def test_a_tls_greeting_is_answered_at_once(self) -> None:
        client = self.world().client().send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        self.assertEqual(client.answer()[0], 400)
        self.assertTrue(client.is_closed())

    def test_a_client_that_resets_hurts_nobody(self) -> None:
        world = self.world()
        rude = world.client().send(POST)
        world.until(lambda: world.connections.count() == 1)
        rude.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.sock.close()
        world.until(lambda: world.connections.count() == 0)
        self.assertEqual(world.client().get().answer()[0], 200)


class PeerTest(unittest.TestCase):
    def test_a_client_goes_by_the_address_that_it_has(self) -> None:
        for address, peer in (
            (("192.0.2.7", 5), "192.0.2.7"),
            (("::1", 5, 0, 0), "::1"),
            (("::ffff:127.0.0.1", 5, 0, 0), "127.0.0.1"),
            (("::ffff:0:1", 5, 0, 0), "::ffff:0:1"),
            ("", ""),
        ):
            self.assertEqual(peer_of(address), peer)


class BoundsTest(WebTest):
    def test_a_slow_request_is_timed_out_with_408(self) -> None:
        world = self.world(limits=QUICK)
        for part in (b"GET / HT", POST + b"hel"):
            client = world.client().send(part)
            self.assertEqual(client.answer()[0], 408)
            self.assertTrue(client.is_closed())

    def test_dripping_does_not_win_time(self) -> None:
        world = self.world(limits=QUICK)
        client = world.client().send(b"GET / HTTP/1.1\r\n")
        for _ in range(2000):
            client.pull()
            if client.buffer:
                break
            client.send(b"a")
            world.turn()
        self.assertEqual(client.answer()[0], 408)

    @staticmethod
    def has(world: World, connection: Connection, unread: bytes) -> None:
        """Wait until this is what came and was not answered."""
        world.until(lambda: connection.input == unread)

    def test_blank_lines_win_none_either(self) -> None:
        world = self.world()
        client = world.client().get()
        client.answer()
        connection = next(iter(world.connections._open.values()))
        since = connection.since
        for sent, kept in ((b"\r", b"\r"), (b"\n", b""), (b"\r\n\r", b"\r"), (b"\n\r\n", b"")) * 3:
            client.send(sent)
            self.has(world, connection, kept)
            self.assertTrue(connection.idle())
            self.assertEqual(connection.since, since)
        self.assertEqual(client.get("/a").answer()[2], b"GET /a ")

    def test_the_time_before_a_request_does_not_count_against_it(self) -> None:
        world = self.world(limits=Limits(sweep_s=0.01, idle_s=1000))
        for before in (b"", b"\r"):
            client = world.client()
            client.get().answer()
            connection = list(world.connections._open.values())[-1]
            client.send(before)
            self.has(world, connection, before)
            connection.since -= 500
            client.send((b"\n" if before == b"\r" else b"") + b"GET /x HT")
            world.rest(0.03)
            self.assertEqual(client.send(b"TP/1.1\r\nHost: localhost\r\n\r\n").answer()[0], 200)

    def test_an_idle_connection_is_closed_without_a_word(self) -> None:
        client = self.world(limits=QUICK).client()
        self.assertTrue(client.is_closed())
        self.assertEqual(client.buffer, b"")

    def test_who_is_asked_to_take_more_and_does_not_wins_no_time(self) -> None:
        """The loop may say that there is room where there is none, as often as it likes."""
        world = self.world(big)
        world.client().get()
        world.until(lambda: any(c.output for c in world.connections._open.values()))
        world.turn(5)  # until the client's buffer is full too
        connection = next(iter(world.connections._open.values()))
        since = connection.since
        connection.ready(WRITE)
        self.assertEqual(connection.since, since)

    def test_an_answer_that_nobody_reads_is_given_up(self) -> None:
        world = self.world(big, QUICK._replace(idle_s=60, request_s=60))
        world.client().get()
        world.until(lambda: world.connections.count() == 1)
        world.until(lambda: world.connections.count() == 0)

    def test_time_that_the_machine_slept_away_is_not_the_clients(self) -> None:
        world = self.world(limits=Limits(sweep_s=0.01))
        client = world.client().send(b"GET /x HT")
        world.until(lambda: world.connections.count() == 1)
        connection = next(iter(world.connections._open.values()))
        world.turn(2)
        connection.since -= 100
        for callback in world.loop._late:
            callback(100.0)
        world.rest(0.03)
        self.assertEqual(client.send(b"TP/1.1\r\nHost: localhost\r\n\r\n").answer()[0], 200)

    def test_nothing_is_read_while_an_answer_is_unsent(self) -> None:
        asked = []

        def respond(request: Request) -> Response:
            asked.append(request.path)
            return big(request)

        world = self.world(respond)
        client = world.client()
        for number in range(5):
            client.get(f"/{number}")
        world.turn(20)
        self.assertEqual(asked, ["/0"])
        for _ in range(5):
            self.assertEqual(len(client.answer()[2]), BIG)
        self.assertEqual(asked, [f"/{number}" for number in range(5)])

    def test_a_large_body_is_sent_from_where_it_lies(self) -> None:
        """Many who are slow to take the same thing take no more memory than one."""
        body = b"x" * BIG
        world = self.world(lambda _request: Response(200, body))
        clients = [world.client().get() for _ in range(3)]
        world.until(lambda: len(self.unsent(world)) == 3)
        for output in self.unsent(world):
            assert isinstance(output, memoryview)
            self.assertIs(output.obj, body)
        for client in clients:
            self.assertEqual(client.answer()[2], body)

    @staticmethod
    def unsent(world: World) -> list[bytes | memoryview]:
        return [c.output for c in world.connections._open.values() if c.output]

    def test_without_descriptors_left_accepting_rests_and_goes_on(self) -> None:
        class Exhausted:
            def __init__(self, real: socket.socket) -> None:
                self.real = real
                self.calls = 0

            def accept(self) -> tuple[socket.socket, object]:
                self.calls += 1
                if self.calls == 1:
                    raise OSError(errno.EMFILE, "too many open files")
                return self.real.accept()

            def fileno(self) -> int:
                return self.real.fileno()

        world = self.world()
        fake = Exhausted(world.listener)
        world.connections._listener = fake  # type: ignore[assignment]
        client = world.client().get()
        world.until(lambda: fake.calls)
        world.turn(3)
        self.assertEqual(fake.calls, 1)
        self.assertEqual(client.answer()[0], 200)


class ChildrenTest(WebTest):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.go = Path(folder.name) / "go"

    def respond(self, request: Request) -> Response | Later:
        """/slow: a child that prints its PID and waits for a file; everything else: at once."""
        if request.path != "/slow":
            return echo(request)
        code = (
            "import os, sys, time\nprint(os.getpid(), flush=True)\n"
            f"while not os.path.exists({str(self.go)!r}): time.sleep(0.005)\n"
        )
        argv = [sys.executable, "-I", "-S", "-c", code]
        return Later(
            argv, 30, lambda result: json_response(200, [result.status, result.stdout.decode()])
        )

    def test_an_answer_waits_for_its_child_and_others_do_not(self) -> None:
        world = self.world(self.respond)
        slow = world.client().get("/slow").get("/after")
        world.until(lambda: world.connections.waiting() == 1)
        self.assertEqual(world.client().get("/other").answer()[2], b"GET /other ")
        self.assertFalse(slow.has_answer())
        self.go.touch()
        self.assertIn(b"[0,", slow.answer()[2])
        self.assertEqual(slow.answer()[2], b"GET /after ")
        self.assertEqual(world.connections.waiting(), 0)

    def test_a_client_that_goes_away_ends_its_child(self) -> None:
        world = self.world(self.respond)
        client = world.client().get("/slow")
        world.until(lambda: world.connections.waiting() == 1)
        child = next(iter(world.connections._open.values()))._child
        assert child is not None
        client.sock.close()
        world.until(lambda: world.connections.count() == 0)
        world.until(lambda: not world.loop._children)
        with self.assertRaises(ProcessLookupError):
            os.kill(child.pid, 0)

    def test_too_many_children_are_refused(self) -> None:
        world = self.world(self.respond, Limits(children=1))
        first = world.client().get("/slow")
        world.until(lambda: world.connections.waiting() == 1)
        second = world.client()
        self.assertEqual(second.get("/slow").answer()[0], 503)
        self.go.touch()
        self.assertEqual(first.answer()[0], 200)
        self.assertEqual(second.get("/slow").answer()[0], 200)

    def test_frozen_while_it_waits_it_is_told_to_come_again_and_the_child_is_gone(self) -> None:
        world = self.world(self.respond)
        client = world.client().get("/slow")
        world.until(lambda: world.connections.waiting() == 1)
        child = next(iter(world.connections._open.values()))._child
        assert child is not None
        self.assertEqual(world.connections.freeze(), [])
        status, headers, _ = client.answer()
        self.assertEqual((status, headers["connection"]), (503, "close"))
        self.assertIn("retry-after", headers)
        self.assertTrue(client.is_closed())
        world.until(lambda: not world.loop._children)
        with self.assertRaises(ProcessLookupError):
            os.kill(child.pid, 0)


class EndTest(WebTest):
    def closing(self, world: World, limit_s: float) -> list[str]:
        done: list[str] = []
        world.connections.close_after_answers(lambda: done.append("done"), limit_s)
        return done

    def test_idle_ones_are_closed_at_once_and_requests_get_their_answer(self) -> None:
        world = self.world()
        idle, half = world.client().get(), world.client().send(POST)
        idle.answer()
        world.until(lambda: world.connections.count() == 2)
        world.turn(2)
        done = self.closing(world, 60)
        self.assertTrue(idle.is_closed())
        self.assertEqual(done, [])
        status, headers, _ = half.send(b"hello").answer()
        self.assertEqual((status, headers["connection"]), (200, "close"))
        world.until(lambda: done)
        self.assertTrue(half.is_closed())
        self.assertEqual(done, ["done"])

    def test_a_request_that_is_already_here_is_answered(self) -> None:
        world = self.world()
        client = world.client()
        client.get().answer()
        client.get("/last")
        done = self.closing(world, 60)
        self.assertEqual(client.answer()[2], b"GET /last ")
        world.until(lambda: done)

    def test_at_the_limit_the_rest_is_cut_off(self) -> None:
        world = self.world()
        world.client().send(POST)
        world.until(lambda: world.connections.count() == 1)
        world.turn(2)
        done = self.closing(world, 0.02)
        world.until(lambda: done)
        self.assertEqual((done, world.connections.count()), (["done"], 0))

    def test_with_nobody_there_it_is_over_at_once(self) -> None:
        world = self.world()
        done = self.closing(world, 60)
        self.assertEqual(done, [])  # from the loop, not from within
        world.until(lambda: done)

    def test_stopped_accepting_new_clients_wait_in_the_queue(self) -> None:
        world = self.world()
        world.connections.stop_accepting()
        client = world.client().get()
        world.turn(5)
        self.assertFalse(client.has_answer())
        world.connections.resume()
        self.assertEqual(client.answer()[0], 200)


if __name__ == "__main__":
    unittest.main()

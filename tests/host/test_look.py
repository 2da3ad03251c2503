from __future__ import annotations

import contextlib
import socket
import threading
import time
import unittest
from typing import Callable
from unittest import mock

from hub_upgrade.host import look as look_module
from hub_upgrade.host.look import Look, Seen, look_now, reachable, understand
from hub_upgrade.host.loop import READ, Loop

PATIENCE_S = 20.0
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


class LookTest(unittest.TestCase):
    def setUp(self) -> None:
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.seen: list[Seen] = []
        self.requests: list[bytes] = []
        self.open: list[socket.socket] = []
        self.addCleanup(self.close_all)

    def close_all(self) -> None:
        for connection in self.open:
            connection.close()

    def look(self) -> Look:
        return Look(self.loop, socket.AF_INET, self.listener.getsockname(), self.seen.append)

    def serve(self, answer: Callable[[socket.socket], None]) -> None:
        def accept(_events: int) -> None:
            connection, _ = self.listener.accept()
            self.open.append(connection)
            answer(connection)

        self.loop.watch(self.listener.fileno(), READ, accept)

    def answering(self, *pieces: bytes, close: bool = True) -> None:
        def answer(connection: socket.socket) -> None:
            connection.settimeout(PATIENCE_S)
            self.requests.append(b"")
            while not self.requests[-1].endswith(b"\r\n\r\n"):
                self.loop.call_later(0, lambda: None)
                self.loop.turn()
                self.requests[-1] += connection.recv(4096)
            for piece in pieces:
                connection.sendall(piece)
            if close:
                connection.close()

        self.serve(answer)

    def result(self) -> Seen:
        end = time.monotonic() + PATIENCE_S
        while not self.seen and time.monotonic() < end:
            self.loop.turn()
        self.assertEqual(len(self.seen), 1)
        return self.seen[0]

    def test_it_sees_status_and_body(self) -> None:
        self.answering(OK, b'{"status"', b': "ok"}')
        self.look()
        self.assertEqual(self.result(), Seen(200, {"status": "ok"}, ""))
        self.assertTrue(self.requests[0].startswith(b"GET /health HTTP/1.1\r\nHost: "))

    def test_a_refused_connection_is_no_answer(self) -> None:
        with mock.patch.object(self, "listener") as closed:
            with socket.create_server(("127.0.0.1", 0)) as gone:
                closed.getsockname.return_value = gone.getsockname()
            self.look()
        self.assertEqual(self.result(), Seen(0, {}, "connection refused"))

    def test_a_connection_that_cannot_even_be_tried_is_told_from_the_loop(self) -> None:
        look = Look(self.loop, socket.AF_INET, ("255.255.255.255", 9), self.seen.append)
        self.assertEqual(self.seen, [])
        self.assertEqual(self.result().status, 0)
        look.cancel()

    def test_a_close_without_a_word_is_no_answer(self) -> None:
        self.serve(lambda connection: connection.close())
        self.look()
        self.assertEqual(self.result().status, 0)

    def test_silence_ends_after_its_time(self) -> None:
        with mock.patch.object(look_module, "LOOK_TIMEOUT_S", 0.05):
            self.serve(lambda _connection: None)
            self.look()
            self.assertEqual(self.result(), Seen(0, {}, "no answer within 0.05 s"))

    def test_one_that_trickles_for_ever_ends_after_the_same_time(self) -> None:
        def trickle(connection: socket.socket) -> None:
            if not self.seen:
                connection.send(b"H")
                self.loop.call_later(0.005, lambda: trickle(connection))

        with mock.patch.object(look_module, "LOOK_TIMEOUT_S", 0.1):
            self.serve(trickle)
            self.look()
            self.assertEqual(self.result().status, 0)

    def test_one_that_never_stops_talking_is_cut_off(self) -> None:
        self.answering(b"x" * (look_module.MAX_ANSWER + 1), close=False)
        self.look()
        self.assertEqual(self.result(), Seen(1, {}, "an answer that is not HTTP"))

    def test_time_that_the_launcher_slept_away_is_given_back(self) -> None:
        clock = [1000.0]
        with mock.patch.object(Loop, "now", staticmethod(lambda: clock[0])):
            look = self.look()
            clock[0] += 30
            look.extend(30)
            self.assertEqual(look._timer.when, clock[0] + look_module.LOOK_TIMEOUT_S)
            look.cancel()
            look.extend(30)
            self.assertIsNone(look._timer.callback)

    def test_a_cancelled_look_says_nothing_and_leaves_nothing_open(self) -> None:
        self.serve(lambda connection: connection.sendall(OK))
        for turns in range(3):
            look = self.look()
            for _ in range(turns):
                self.loop.call_later(0, lambda: None)
                self.loop.turn()
            for _ in range(2):
                look.cancel()
            self.assertEqual(look._socket.fileno(), -1)
        for _ in range(3):
            self.loop.call_later(0, lambda: None)
            self.loop.turn()
        self.assertEqual(self.seen, [])

    def test_an_answer_is_told_once_and_the_socket_is_closed(self) -> None:
        self.answering(OK)
        look = self.look()
        self.result()
        self.assertEqual(look._socket.fileno(), -1)


class UnderstandTest(unittest.TestCase):
    def test_anything_odd_is_an_answer_that_is_not_http(self) -> None:
        starts = (b"\0", b"hello", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 ok\r\n", b"SSH-2.0-x 200")
        statuses = (b"HTTP/1.1 -20 x", b"HTTP/1.1 20 x", b"HTTP/1.1 " + b"9" * 60_000)
        for data in starts + statuses:
            odd = Seen(1, {}, "an answer that is not HTTP")
            self.assertEqual(understand(data), odd, data[:20])

    def test_a_body_that_is_no_object_is_an_empty_one(self) -> None:
        for body in (b"", b"[]", b"null", b"\xff", b"[" * 60_000, b"9" * 60_000):
            self.assertEqual(understand(OK + body), Seen(200, {}, ""), body[:20])

    def test_a_status_without_a_reason_will_do(self) -> None:
        self.assertEqual(understand(b"HTTP/1.0 503\r\n\r\n{}"), Seen(503, {}, ""))

    def test_a_body_in_chunks_is_put_together(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
        for chunks in (
            b'10\r\n{"status": "ok"}\r\n0\r\n\r\n',
            b'1\r\n{\r\n00E;name=value\r\n"status": "ok"\r\n1\r\n}\r\n0\r\nx: y\r\n\r\n',
        ):
            self.assertEqual(understand(head + chunks), Seen(200, {"status": "ok"}, ""), chunks)
        for cut in (b"", b"5", b'5\r\n{"a":', b"x\r\n{}\r\n", b"2\r\n{}", b"2\r\n{}\r\n"):
            self.assertEqual(understand(head + cut), Seen(200, {}, ""), cut)

    def test_a_chunk_with_another_size_than_hexadecimal_digits_is_no_body(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        end = b'\r\n{"a":1}\r\n0\r\n\r\n'
        self.assertEqual(understand(head + b"7 ;x" + end).body, {"a": 1})
        for size in (b"+7", b" 7", b"0x7", b"0_7", b"\t7", b";7", b"7\x0b"):
            self.assertEqual(understand(head + size + end), Seen(200, {}, ""), size)
        back = b'-5\r\n{"a":1}\r\n0\r\n'  # it would be read again from the middle
        self.assertEqual(understand(head + back), Seen(200, {}, ""))
        huge = b"f" * 60_000 + b"\r\n{}"
        self.assertEqual(understand(head + huge), Seen(200, {}, ""))


class LookNowTest(unittest.TestCase):
    """Waited for, from a thread that answers in a way of its own."""

    def look(
        self, answer: Callable[[socket.socket], None], path: str = "/health",
        within_s: float = PATIENCE_S,
    ) -> Seen:  # fmt: skip
        self.requests: list[bytes] = []
        self.over = threading.Event()
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with listener, listener.accept()[0] as connection:
                self.requests.append(connection.recv(65536))
                with contextlib.suppress(OSError):
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return look_now(listener.getsockname()[:2], path, within_s)
        finally:
            self.over.set()
            thread.join()

    def test_it_asks_for_the_path_and_reads_to_the_end(self) -> None:
        def answer(connection: socket.socket) -> None:
            for piece in (OK[:10], OK[10:], b'{"version":', b' "1"}'):
                connection.sendall(piece)

        self.assertEqual(self.look(answer, "/h?x=1"), Seen(200, {"version": "1"}, ""))
        self.assertTrue(self.requests[0].startswith(b"GET /h?x=1 HTTP/1.1\r\nHost: "))

    def test_silence_and_a_trickle_end_after_its_time(self) -> None:
        def trickle(connection: socket.socket) -> None:
            while not self.over.wait(0.01):
                connection.sendall(b"H")

        def silence(_connection: socket.socket) -> None:
            self.over.wait()

        for answer in (silence, trickle):
            seen = self.look(answer, within_s=0.3)
            self.assertEqual(seen, Seen(0, {}, "no answer within 0.3 s"))

    def test_one_that_never_stops_talking_is_cut_off(self) -> None:
        seen = self.look(lambda connection: connection.sendall(b"x" * 10_000_000))
        self.assertEqual(seen, Seen(1, {}, "an answer that is not HTTP"))

    def test_nobody_there_or_a_close_without_a_word(self) -> None:
        self.assertEqual(self.look(lambda _connection: None).status, 0)
        with socket.create_server(("127.0.0.1", 0)) as gone:
            address = gone.getsockname()[:2]
        self.assertEqual(look_now(address, "/health"), Seen(0, {}, "connection refused"))


class ReachableTest(unittest.TestCase):
    def test_a_listener_on_every_address_is_reached_over_loopback(self) -> None:
        self.assertEqual(reachable(("0.0.0.0", 80)), ("127.0.0.1", 80))
        self.assertEqual(reachable(("::", 80, 0, 0)), ("::1", 80))
        self.assertEqual(reachable(("192.0.2.1", 80)), ("192.0.2.1", 80))
        self.assertEqual(reachable(("fe80::1", 80, 0, 3)), ("fe80::1", 80, 0, 3))


if __name__ == "__main__":
    unittest.main()

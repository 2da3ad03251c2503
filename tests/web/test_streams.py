"""Event streams: what a client hears, when, and what becomes of one that does not listen."""

from __future__ import annotations

import socket
import unittest
from typing import Any

from hub_upgrade.web import streams
from hub_upgrade.web.limits import LIMITS, Limits
from hub_upgrade.web.messages import Answer, Request, Stream
from hub_upgrade.web.pipe import MAX_DISCARDED
from tests.web.harness import Client, WebTest, World, echo

FAST = Limits(feed_s=0.005, sweep_s=0.01)
LARGE = 4 * 1024 * 1024
"""More than the kernel keeps for both ends together."""


def respond(request: Request) -> Answer:
    """/events is the feed `it`, /other one that does not exist; all else says what it was asked."""
    if request.path == "/events":
        return Stream("it")
    return Stream("unknown") if request.path == "/other" else echo(request)


class Thing:
    """A feed: the object can be changed, and looks at it are counted."""

    def __init__(self, now: bytes | None = None) -> None:
        self.now = now
        self.looks = 0

    def __call__(self) -> bytes | None:
        self.looks += 1
        return self.now


class StreamCase(WebTest):
    def listening(
        self, thing: Thing, limits: Limits = FAST, path: str = "/events"
    ) -> tuple[World, Client]:
        world = self.world(respond, limits, feeds={"it": thing})
        client = world.client().get(path)
        world.until(lambda: b"retry: 1000\n\n" in client.pull())
        return world, client

    def hears(self, client: Client, *objects: bytes) -> None:
        """These events come next, and nothing else that is no comment."""
        for expected in objects:
            client.world.until(lambda: self.next_of(client) is not None)
            self.assertEqual(self.next_of(client), expected)
            client.buffer = client.buffer.partition(b"data: ")[2].partition(b"\n\n")[2]

    @staticmethod
    def next_of(client: Client) -> bytes | None:
        event, end, _ = client.pull().partition(b"data: ")[2].partition(b"\n\n")
        return event if end else None

    def silent(self, client: Client, seconds: float = 0.03) -> None:
        client.world.rest(seconds)
        self.assertIsNone(self.next_of(client))

    @staticmethod
    def gone(world: World) -> None:
        world.until(lambda: world.connections.count() == 0)


class StreamTest(StreamCase):
    def test_it_ends_when_its_token_is_good_no_more_and_no_other_does(self) -> None:
        thing, good = Thing(b"1"), {"a", "b"}

        def asked(request: Request) -> Answer:
            return Stream("it", request.query)

        world = self.world(asked, FAST, feeds={"it": thing})
        world.connections.streams._known = good.__contains__
        mine, other = world.client().get("/?a"), world.client().get("/?b")
        for client in (mine, other):
            self.hears(client, b"1")
        good.remove("a")
        thing.now = b"2"
        self.assertTrue(mine.is_closed())
        self.assertNotIn(b"2", mine.buffer.partition(b"data: ")[2])
        self.hears(other, b"2")

        new = self.cross(world, asked, limits=FAST, feeds={"it": thing})
        new.connections.streams._known = good.__contains__
        thing.now = b"3"
        self.hears(other, b"3")
        good.clear()
        self.assertTrue(other.is_closed(), "another image knows who it is as well")

    def test_the_head_then_the_present_object_and_nothing_as_long_as_it_stays(self) -> None:
        _, client = self.listening(Thing(b'{"a":1}'))
        client.world.until(lambda: b"data: " in client.pull())
        head, _, rest = client.buffer.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        self.assertEqual(lines[0], "http/1.1 200 ok")
        for line in ("content-type: text/event-stream", "cache-control: no-store",
                     "x-accel-buffering: no", "connection: close"):  # fmt: skip
            self.assertIn(line, lines)
        self.assertNotIn("content-length", head.decode().lower())
        self.assertEqual(rest, b'retry: 1000\n\ndata: {"a":1}\n\n')
        self.hears(client, b'{"a":1}')
        self.silent(client)

    def test_one_event_for_each_change(self) -> None:
        thing = Thing(b"1")
        _, client = self.listening(thing)
        self.hears(client, b"1")
        for value in (b"2", b"3"):
            thing.now = value
            self.hears(client, value)
        self.silent(client)

    def test_no_event_as_long_as_there_is_no_object(self) -> None:
        thing = Thing()
        _, client = self.listening(thing)
        self.silent(client)
        thing.now = b"first"
        self.hears(client, b"first")
        thing.now = None
        self.silent(client)
        thing.now = b"first"
        self.silent(client)

    def test_an_object_of_several_lines_is_one_event(self) -> None:
        _, client = self.listening(Thing(b"a\nb"))
        self.hears(client, b"a\ndata: b")

    def test_head_gets_the_head_alone(self) -> None:
        thing = Thing(b"1")
        world = self.world(respond, FAST, feeds={"it": thing})
        client = world.client().send(b"HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, headers, _ = client.answer(of_head=True)
        self.assertEqual((status, headers["content-type"]), (200, "text/event-stream"))
        self.assertTrue(client.is_closed())
        self.assertEqual((client.buffer, thing.looks), (b"", 0))

    def test_nobody_looks_where_nobody_listens(self) -> None:
        thing = Thing(b"1")
        world, client = self.listening(thing)
        self.hears(client, b"1")
        client.sock.close()
        self.gone(world)
        world.rest(0.03)
        looks = thing.looks
        world.rest(0.03)
        self.assertEqual(thing.looks, looks)
        names = [getattr(timer.callback, "__name__", "") for timer in world.loop._timers]
        self.assertNotIn("_look", names)
        again = world.client().get("/events")
        self.hears(again, b"1")
        thing.now = b"2"
        self.hears(again, b"2")

    def test_one_look_serves_all(self) -> None:
        thing = Thing(b"1")
        world, first = self.listening(thing, FAST._replace(feed_s=0.05))
        others = [world.client().get("/events") for _ in range(30)]
        for client in (first, *others):
            self.hears(client, b"1")
        looks = thing.looks
        world.until(lambda: thing.looks > looks)
        self.assertEqual(thing.looks, looks + 1)

    def test_beyond_their_number_503_and_room_again_when_one_leaves(self) -> None:
        world, first = self.listening(Thing(b"1"), FAST._replace(streams=2))
        self.hears(world.client().get("/events"), b"1")
        late = world.client().get("/events")
        status, headers, body = late.answer()
        self.assertEqual((status, headers["retry-after"]), (503, "1"))
        self.assertIn(b'"overloaded"', body)
        self.assertEqual(late.get("/x").answer()[0], 200)
        first.sock.close()
        world.until(lambda: world.connections.streams.count() == 1)
        self.hears(late.get("/events"), b"1")

    def test_a_feed_that_is_not_there_is_refused_and_not_waited_for(self) -> None:
        world = self.world(respond, FAST)
        self.assertEqual(world.client().get("/other").answer()[0], 503)

    def test_plain_requests_go_on_beside_it(self) -> None:
        world, _ = self.listening(Thing(b"1"))
        self.assertEqual(world.client().get("/x").answer()[2], b"GET /x ")

    def test_requests_before_it_are_answered_and_those_behind_it_are_not(self) -> None:
        world = self.world(respond, FAST, feeds={"it": Thing(b"1")})
        client = world.client().get("/x").get("/events").get("/y")
        self.assertEqual(client.answer()[2], b"GET /x ")
        self.hears(client, b"1")
        self.silent(client)
        self.assertNotIn(b"/y", client.buffer)
        self.assertEqual(next(iter(world.connections._open.values())).input, b"")


class SlowTest(StreamCase):
    def test_states_may_be_skipped_but_never_the_last(self) -> None:
        values = [bytes([65 + number]) * LARGE for number in range(5)]
        thing = Thing(values[0])
        world = self.world(respond, FAST, feeds={"it": thing})
        client = world.client().get("/events")
        for value in values:
            thing.now = value
            looks = thing.looks
            world.until(lambda looks=looks: thing.looks > looks + 1)  # type: ignore[misc]
        connection = next(iter(world.connections._open.values()))
        self.assertLessEqual(len(connection.output), LARGE)
        self.hears(client, values[0], values[-1])
        self.silent(client)

    def test_who_takes_nothing_is_cut_off(self) -> None:
        thing = Thing(b"x" * LARGE)
        world = self.world(respond, FAST._replace(write_s=0.05), feeds={"it": thing})
        client = world.client().get("/events")
        world.until(lambda: world.connections.streams.count() == 1)
        if streams.USER_TIMEOUT is not None:  # the kernel would do it as well, at its own time
            connection = next(iter(world.connections._open.values()))
            connection.sock.setsockopt(socket.IPPROTO_TCP, streams.USER_TIMEOUT, 0)
        self.gone(world)
        self.assertFalse(client.closed)
        self.assertEqual(world.connections.streams.count(), 0)

    def test_who_listens_is_not_however_long_nothing_happens(self) -> None:
        thing = Thing(b"1")
        limits = FAST._replace(write_s=0.01, idle_s=0.01, request_s=0.01, linger_s=0.01)
        _, client = self.listening(thing, limits)
        self.hears(client, b"1")
        self.silent(client, 0.1)
        thing.now = b"2"
        self.hears(client, b"2")

    def test_after_a_silence_there_is_a_comment_and_again(self) -> None:
        thing = Thing()
        world, client = self.listening(thing, FAST._replace(comment_s=0.02))
        world.until(lambda: client.pull().count(b"\n\n:\n\n:\n\n"))
        thing.now = b"1"
        self.hears(client, b"1")

    def test_what_it_sends_is_dropped(self) -> None:
        thing = Thing(b"1")
        _, client = self.listening(thing)
        self.hears(client, b"1")
        client.get("/x").send(b"nonsense" * 1000)
        self.silent(client)
        self.assertEqual(client.buffer, b"")
        thing.now = b"2"
        self.hears(client, b"2")

    def test_but_not_without_an_end(self) -> None:
        world, client = self.listening(Thing(b"1"))
        left = 2 * MAX_DISCARDED
        while left > 0 and world.connections.count():
            try:
                left -= client.sock.send(b"x" * 65536)
            except BlockingIOError:
                pass
            except OSError:
                break
            world.turn()
        self.gone(world)

    def test_where_the_house_is_full_a_stream_stays_unless_it_takes_nothing(self) -> None:
        for value, stays in ((b"1", True), (b"x" * LARGE, False)):
            limits = FAST._replace(connections=1, grace_s=1)
            world = self.world(respond, limits, feeds={"it": Thing(value)})
            listener = world.client().get("/events")
            world.until(lambda world=world: world.connections.streams.count() == 1)  # type: ignore[misc]
            world.turn(3)
            next(iter(world.connections._open.values())).since -= 2
            self.assertEqual(world.client().get("/x").answer()[0], 503 if stays else 200)
            if stays:
                self.hears(listener, value)


class EndTest(StreamCase):
    def test_streams_end_at_once_and_hold_up_nothing(self) -> None:
        world, client = self.listening(Thing(b"1"))
        stuck = self.stuck(world)
        done: list[str] = []
        world.connections.close_after_answers(lambda: done.append("done"), 60)
        self.assertEqual(world.connections.count(), 0)
        world.until(lambda: done)
        self.assertTrue(client.is_closed())
        self.assertTrue(stuck.is_closed())

    @staticmethod
    def stuck(world: World) -> Client:
        world.connections.streams._feeds["it"]._source.now = b"x" * LARGE  # type: ignore[attr-defined]
        client = world.client().get("/events")
        world.until(lambda: any(c.output for c in world.connections._open.values()))
        return client

    def test_asked_for_while_it_ends_it_is_over_at_once(self) -> None:
        world = self.world(respond, FAST, feeds={"it": Thing(b"1")})
        client = world.client().send(b"GET /events HTTP/1.1\r\nHost: localh")
        world.until(lambda: world.connections.count() == 1)
        world.turn(2)
        done: list[str] = []
        world.connections.close_after_answers(lambda: done.append("done"), 60)
        client.send(b"ost\r\n\r\n")
        world.until(lambda: done)
        self.assertTrue(client.is_closed())
        self.assertTrue(client.buffer.endswith(b"\r\n\r\n"))


class HandoffTest(StreamCase):
    def over(self, old: World, thing: Thing, limits: Limits = FAST, **named: Any) -> World:
        return self.cross(old, respond, limits=limits, feeds={"it": thing}, **named)

    def test_it_goes_on_in_the_new_image_and_hears_nothing_twice(self) -> None:
        thing = Thing(b"1")
        old, client = self.listening(thing)
        self.hears(client, b"1")
        new = self.over(old, thing)
        self.silent(client)
        thing.now = b"2"
        self.hears(client, b"2")
        new = self.over(new, thing)
        thing.now = b"3"
        self.hears(client, b"3")
        self.assertFalse(client.closed)
        client.sock.close()
        self.gone(new)

    def test_what_changed_meanwhile_is_heard(self) -> None:
        thing = Thing(b"1")
        old, client = self.listening(thing)
        self.hears(client, b"1")

        def changed(_entry: dict[str, Any]) -> None:
            thing.now = b"2"

        self.over(old, thing, change=changed)
        self.hears(client, b"2")

    def test_an_event_cut_in_the_middle_arrives_whole(self) -> None:
        first, last = b"a" * LARGE, b"z" * 100
        thing = Thing(first)
        old = self.world(respond, FAST, feeds={"it": thing})
        client = old.client().get("/events")
        old.until(lambda: any(c.output for c in old.connections._open.values()))
        self.over(old, thing)
        thing.now = last
        self.hears(client, first, last)

    def test_the_time_of_its_silence_goes_along(self) -> None:
        thing = Thing(b"1")
        old, client = self.listening(thing, LIMITS)
        self.hears(client, b"1")

        def older(entry: dict[str, Any]) -> None:
            entry["age"] = 14.99
            entry["output"] = ""

        new = self.over(old, thing, FAST._replace(comment_s=15.0), change=older)
        new.until(lambda: client.pull().endswith(b":\n\n"))

    def test_a_stream_that_the_new_image_does_not_know_is_closed(self) -> None:
        old, client = self.listening(Thing(b"1"))
        new = self.cross(old, respond)
        self.assertTrue(client.is_closed())
        self.assertEqual(new.connections.count(), 0)

    def test_an_image_without_streams_closes_it_as_an_answer_that_is_over(self) -> None:
        def before_streams(entry: dict[str, Any]) -> None:
            del entry["stream"], entry["seen"]

        old, client = self.listening(Thing(b"1"))
        new = self.cross(old, respond, change=before_streams)
        self.assertTrue(client.is_closed())
        self.gone(new)

    def test_nonsense_in_its_fields_does_no_harm(self) -> None:
        for fields in ({"stream": 7}, {"stream": ["it"]}, {"seen": {"a": 1}}):
            def odd(entry: dict[str, Any], fields: dict[str, Any] = fields) -> None:
                entry.update(fields)

            thing = Thing(b"1")
            old, client = self.listening(thing)
            new = self.over(old, thing, change=odd)
            if "seen" in fields:
                self.hears(client, b"1")
            else:
                self.gone(new)

    def test_a_handoff_that_failed_changes_nothing(self) -> None:
        thing = Thing(b"1")
        world, client = self.listening(thing)
        self.hears(client, b"1")
        world.connections.freeze()
        world.connections.unfreeze()
        thing.now = b"2"
        self.hears(client, b"2")


class GoneTest(StreamCase):
    def test_a_client_that_goes_away_is_noticed(self) -> None:
        for wholly in (True, False):
            world, client = self.listening(Thing(b"1"))
            client.sock.close() if wholly else client.sock.shutdown(socket.SHUT_WR)
            self.gone(world)
            self.assertEqual(world.connections.streams.count(), 0)


if __name__ == "__main__":
    unittest.main()

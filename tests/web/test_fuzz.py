"""Whatever bytes come, the answer is a documented one, short in its echo, and nothing is logged."""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
import unittest

from hub_upgrade.web.messages import MAX_ECHO
from hub_upgrade.web.routes import dispatch
from tests.web.harness import Client, World
from tests.web.test_api import ApiTest

ROUNDS = 5000
SEED = 8
KNOWN = {200, 400, 401, 403, 404, 405, 408, 409, 411, 413, 421, 431}
MARK = "Q"
"""A letter that no word of ours contains: how often it stands there is what was echoed."""
WHOLE = (
    b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/hub/upgrade/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n",
    (
        b"POST /api/hub/upgrade HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
        b'Content-Length: 23\r\n\r\n{"channel": "nonsense"}'
    ),
    b'POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n{"code": "x"}',
    b"GET http://localhost/api/modules/%%41/logs?a=%%00 HTTP/1.0\r\nHost: [::1]:80\r\n\r\n",
)
PIECES = (
    b"\r\n", b"\n", b"\0", b" ", b"\t", b":", b"/", b"?", b"%", b"%00", b"\xff\xfe", b"\x1b[31m",
    b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Host: evil.example\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b"Authorization: Bearer \xe2\x98\x83\r\n", b"{", b'"', b"[" * 2000, b"\\u0000", b"..", b"//",
    MARK.encode() * 300, MARK.encode() * 5000, b"HTTP/9.9", b"&" * 50, b"-1", b"\x80",
)  # fmt: skip


def split(answers: str) -> list[tuple[str, str]]:
    """Head and body of each answer that came."""
    found = []
    while answers:
        head, _, rest = answers.partition("\r\n\r\n")
        length = re.search(r"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        found.append((head, rest[:size]))
        answers = rest[size:]
    return found


class FuzzTest(ApiTest):
    def setUp(self) -> None:
        super().setUp()
        self.build(releases="")  # nothing can be started: what is accepted is another test's
        self.words = [self.admin.encode(), self.reader.encode(), b"nobody"]

    def mutated(self, chance: random.Random) -> bytes:
        """A whole request with a few things wrong, or no request at all."""
        if chance.random() < 0.1:
            return chance.randbytes(chance.randrange(1, 300))
        data = bytearray(chance.choice(WHOLE).replace(b"%s", chance.choice(self.words)))
        for _ in range(chance.randrange(4)):
            lines = [match.end() for match in re.finditer(b"\r\n", data)]
            at = chance.choice([*lines, chance.randrange(len(data) + 1)])
            what = chance.randrange(3)
            if what == 0:
                data[at:at] = chance.choice(PIECES)
            elif what == 1:
                del data[at : at + chance.randrange(1, 20)]
            elif at < len(data):
                data[at] = chance.randrange(256)
        return bytes(data)

    def test_random_requests_are_answered_or_closed_and_never_trouble_the_hub(self) -> None:
        chance = random.Random(SEED)
        world = World(lambda request: dispatch(self.table, request, self.app))
        self.addCleanup(world.close)
        world.connections.start()
        statuses: set[int] = set()
        with tempfile.TemporaryFile() as log:
            kept = os.dup(2)
            os.dup2(log.fileno(), 2)
            try:
                for _ in range(ROUNDS):
                    statuses |= self.told(world, self.mutated(chance))
            finally:
                os.dup2(kept, 2)
                os.close(kept)
            log.seek(0)
            logged = log.read().decode()
        self.assertLessEqual(statuses, KNOWN)
        self.assertGreaterEqual(statuses, {200, 400, 401, 404, 405, 413, 421})
        for line in logged.splitlines():  # a refused sign-in is news, and all that is
            self.assertRegex(line, r"^hub: a sign-in code was refused, from 127\.0\.0\.1$")
        self.assertEqual(world.client().get("/health").answer()[0], 200)

    def told(self, world: World, data: bytes) -> set[int]:
        """Send it on a connection of its own, and look at all that comes back."""
        client = world.client()
        try:
            client.send(data)
        except OSError:
            self.fail("the kernel took less than the largest request")
        world.until(lambda: self.read_up(world, client))
        answer = client.pull().decode("latin-1")
        client.sock.close()
        world.clients.remove(client)
        world.until(lambda: not world.connections.count())
        self.assertNotIn("Traceback", answer)
        self.assertLessEqual(answer.count(MARK), MAX_ECHO + 20, answer[:500])
        return {self.checked(*one) for one in split(answer)} - {100}

    def checked(self, head: str, body: str) -> int:
        """The status of an answer that is as it must be."""
        status = int(head.split(" ")[1])
        if status >= 400:
            self.assertIn("content-type: application/json", head)
            self.assertNotRegex(head.replace("\r\n", ""), r"[\x00-\x1f\x7f-\xff]")
            self.assertEqual(sorted(json.loads(body)), ["error", "error_description"])
        return status

    @staticmethod
    def read_up(world: World, client: Client) -> bool:
        """Whether what it sent was read: it has an answer, or the hub waits for more of it."""
        waits = any(connection.input for connection in world.connections._open.values())
        return client.hears_the_end() or client.has_answer() or waits


if __name__ == "__main__":
    unittest.main()

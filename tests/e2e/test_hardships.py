"""What surrounds a hub may be odd; it serves all the same."""

from __future__ import annotations

import json
import signal
import socket
import threading
import unittest
from pathlib import Path

from tests.e2e.harness import WAIT_S, Hub, RealCase, build

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Hardships(RealCase):
    def test_a_port_of_the_environment_that_is_none_matters_to_nobody_who_was_told_another(
        self,
    ) -> None:
        hub = Hub(build("0.1.0"), self.home)
        self.addCleanup(hub.stop)
        hub.start(PORT="tcp://10.0.0.1:80")
        self.assertNotIn("must be a port", hub.output())

    def test_under_nohup_the_end_of_the_terminal_is_not_the_end_of_the_hub(self) -> None:
        hub = Hub(build("0.1.0"), self.home)
        self.addCleanup(hub.kill_all)
        hub.start(prefix=("nohup",))
        before = hub.wait_healthy()
        assert hub.process is not None
        hub.process.send_signal(signal.SIGHUP)
        hub.token()  # time in which it would have stopped
        self.assertEqual(hub.wait_healthy()["instance"], before["instance"])
        self.assertEqual(hub.stop(signal.SIGTERM), 0)

    def test_no_word_of_hub_json_and_no_answer_of_another_hub_keeps_it_from_serving(self) -> None:
        """A path that no program can be told of, times in which nothing starts or says that it
        lives, and chunks of less than nothing."""
        listener = socket.create_server(("127.0.0.1", 0))
        answered = threading.Semaphore(0)

        def answer() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(CHUNKED + b"-2\r\n" * 16_000)
                answered.release()

        thread = threading.Thread(target=answer)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(listener.close)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        port = listener.getsockname()[1]
        words = {
            "releases": "\ud800", "after_rollback": ["\ud800"],
            "ready_timeout_s": 0.001, "watchdog_s": 0.001,
            "hub": {"health_url": f"http://127.0.0.1:{port}/", "install_dir": "/" + "x" * 200_000},
        }  # fmt: skip
        Path(self.home).mkdir(mode=0o700, exist_ok=True)
        Path(self.home, "hub.json").write_text(json.dumps(words))
        hub = Hub(build("0.1.0"), self.home)
        self.addCleanup(hub.kill_all)
        before = hub.start().wait_healthy()
        for _ in range(3):
            self.assertTrue(answered.acquire(timeout=WAIT_S))
        self.assertEqual(hub.wait_healthy()["instance"], before["instance"], hub.output())
        for key in ("releases", "after_rollback", "watchdog_s", "hub.install_dir"):
            self.assertIn(f"hub.json: {key} must be ", hub.output())


if __name__ == "__main__":
    unittest.main()

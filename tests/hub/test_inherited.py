from __future__ import annotations

import os
import socket
import unittest
import warnings
from typing import Callable

from hub_upgrade.errors import UsageError
from hub_upgrade.hub import inherited as module
from hub_upgrade.hub.inherited import Inherited, take


class InheritedTest(unittest.TestCase):
    """Each in a process of its own, because the descriptors have fixed numbers."""

    def in_a_child(self, check: Callable[[dict[str, str], socket.socket], None]) -> None:
        """Run a check where 3 is a listener and 4 a lock; a failure there is one here."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                warnings.simplefilter("ignore")  # it closes nothing: it ends
                os.dup2(write, 9)
                listener = socket.create_server(("127.0.0.1", 0))
                lock = os.open(os.devnull, os.O_RDONLY)
                os.dup2(listener.fileno(), 30)
                os.dup2(lock, 31)
                os.dup2(30, 3, inheritable=True)
                os.dup2(31, 4, inheritable=True)
                check(self.environ(), socket.socket(fileno=os.dup(30)))
                code = 0
            except BaseException as error:  # noqa: BLE001 - told to the parent
                os.write(9, repr(error).encode())
            finally:
                os._exit(code)
        os.close(write)
        with os.fdopen(read) as file:
            said = file.read()
        self.assertEqual((os.waitpid(pid, 0)[1], said), (0, ""))

    def environ(self) -> dict[str, str]:
        return {
            "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:serve.lock",
            "NOTIFY_SOCKET": "@hub", "PATH": "/bin",
        }  # fmt: skip

    def test_listener_and_lock_are_taken_and_the_variables_are_gone(self) -> None:
        def check(environ: dict[str, str], listener: socket.socket) -> None:
            environ.update(PARACHUTE_HUB_HANDOFF="12", PARACHUTE_HUB_TROUBLE="a sentence")
            found = take(environ)
            assert environ == {"PATH": "/bin"}
            assert found.listener.getsockname() == listener.getsockname()
            assert found.listener.fileno() == 3 and found.lock_fd == 4
            assert found[2:] == ("@hub", 12, "a sentence"), found

        self.in_a_child(check)

    def test_no_child_inherits_them_but_for_the_moment_of_a_handoff(self) -> None:
        def check(environ: dict[str, str], _listener: socket.socket) -> None:
            found = take(environ)
            assert not os.get_inheritable(3) and not os.get_inheritable(4)
            assert not found.listener.getblocking()
            for inheritable in (True, False):
                found.set_inheritable(inheritable)
                assert os.get_inheritable(3) == os.get_inheritable(4) == inheritable

        self.in_a_child(check)

    def test_names_tell_which_is_which_in_any_order(self) -> None:
        def check(environ: dict[str, str], listener: socket.socket) -> None:
            os.dup2(31, 3)
            os.dup2(30, 4)
            environ["LISTEN_FDNAMES"] = "serve.lock:http"
            found = take(environ)
            assert found.lock_fd == 3
            assert found.listener.getsockname() == listener.getsockname()

        self.in_a_child(check)

    def test_without_names_the_first_is_the_listener_and_there_is_no_lock(self) -> None:
        def check(environ: dict[str, str], listener: socket.socket) -> None:
            environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="")
            found = take(environ)
            assert (found.listener.fileno(), found.lock_fd) == (3, -1)

        self.in_a_child(check)

    def test_a_name_beyond_the_number_of_descriptors_names_nothing(self) -> None:
        def check(environ: dict[str, str], _listener: socket.socket) -> None:
            environ["LISTEN_FDS"] = "1"
            assert take(environ).lock_fd == -1

        self.in_a_child(check)

    def test_a_descriptor_that_is_no_socket_is_wrong_usage(self) -> None:
        def check(environ: dict[str, str], _listener: socket.socket) -> None:
            os.dup2(31, 3)
            with self.assertRaises(UsageError):
                take(environ)

        self.in_a_child(check)

    def test_the_next_image_is_told_the_same_again(self) -> None:
        def check(environ: dict[str, str], _listener: socket.socket) -> None:
            environ["PARACHUTE_HUB_TROUBLE"] = "a sentence"
            given = dict(environ)
            del given["PATH"]
            found = take(environ)
            assert found.variables(-1) == given
            assert found.variables(5) == {**given, "PARACHUTE_HUB_HANDOFF": "5"}
            found.set_inheritable(True)
            again = take(found.variables(5))
            assert again[1:] == (4, "@hub", 5, "a sentence"), again

        self.in_a_child(check)


class WithoutLauncherTest(unittest.TestCase):
    def test_it_says_how_a_hub_is_started(self) -> None:
        ours = str(os.getpid())
        counts = ("", "0", "65", "-1", "²", "1" * 5000)
        others = [("", ""), ("", "1"), (str(os.getppid()), "1")]
        for pid, count in [(ours, count) for count in counts] + others:
            environ = {"LISTEN_PID": pid, "LISTEN_FDS": count}
            with self.subTest(pid=pid, count=count[:5]), self.assertRaises(UsageError) as caught:
                take(environ)
            self.assertIn("started by the launcher only; use: hub.pyz serve", str(caught.exception))
            self.assertEqual(environ, {})

    def test_a_home_without_a_lock_names_the_listener_alone(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            found = Inherited(listener, -1, "@hub", -1, "")
            variables = found.variables(-1)
            found.set_inheritable(True)
            self.assertTrue(listener.get_inheritable())
        self.assertEqual((variables["LISTEN_FDS"], variables["LISTEN_FDNAMES"]), ("1", "http"))
        self.assertLessEqual(set(variables), set(module.OURS))


if __name__ == "__main__":
    unittest.main()

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
import unittest
from unittest import mock

from hub_upgrade.host import notify
from hub_upgrade.host.notify import Receiver, parse, send


class ReceiverTest(unittest.TestCase):
    def setUp(self) -> None:
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)

    def receive(self) -> tuple[int, dict[str, str]]:
        message = self.receiver.receive()
        assert message is not None
        return message

    @unittest.skipUnless(sys.platform == "linux", "abstract addresses are Linux's")
    def test_its_address_is_abstract_and_another_each_time(self) -> None:
        other = Receiver()
        self.addCleanup(other.close)
        self.assertTrue(self.receiver.address.startswith("@"))
        self.assertNotEqual(other.address, self.receiver.address)

    def test_what_was_sent_arrives_as_fields_in_order(self) -> None:
        self.assertTrue(send(self.receiver.address, "READY=1\nSTATUS=all = well"))
        self.assertTrue(send(self.receiver.address, "WATCHDOG=1"))
        self.assertEqual(self.receive()[1], {"READY": "1", "STATUS": "all = well"})
        self.assertEqual(self.receive()[1], {"WATCHDOG": "1"})
        self.assertIsNone(self.receiver.receive())

    @unittest.skipUnless(sys.platform == "linux", "credentials are Linux's")
    def test_the_kernel_says_who_sent_it(self) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                send(self.receiver.address, f"MAINPID={os.getppid()}\nREADY=1")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        self.assertEqual(self.receive()[0], pid)
        send(self.receiver.address, "READY=1")
        self.assertEqual(self.receive()[0], os.getpid())

    def test_nonsense_is_a_message_without_fields(self) -> None:
        pieces = (b"", b"\xff\xfe\x00", b"READY", b"=1", b"a b=1", b"\n\n\n", b"x" * 4096)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect("\0" + self.receiver.address[1:])
            for piece in pieces:
                sender.send(piece)
                self.assertEqual(self.receive()[1], {}, piece)

    def test_an_endless_datagram_is_cut_and_the_next_one_is_whole(self) -> None:
        self.assertTrue(send(self.receiver.address, "STATUS=" + "x" * 50_000))
        send(self.receiver.address, "READY=1")
        self.assertLessEqual(len(self.receive()[1]["STATUS"]), notify.MAX_DATAGRAM)
        self.assertEqual(self.receive()[1], {"READY": "1"})

    def test_descriptors_sent_along_are_not_kept(self) -> None:
        before = len(os.listdir("/dev/fd"))
        ends = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect("\0" + self.receiver.address[1:])
            rights = b"".join(end.to_bytes(4, sys.byteorder) for end in ends)
            sender.sendmsg([b"READY=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.assertEqual(self.receive()[1], {"READY": "1"})
        for end in ends:
            os.close(end)
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_a_sender_never_waits_for_a_receiver_that_does_not_read(self) -> None:
        began = time.monotonic()
        sent = [send(self.receiver.address, "WATCHDOG=1") for _ in range(2000)]
        self.assertIn(False, sent)
        self.assertLess(time.monotonic() - began, 10)

    def test_nobody_to_tell_is_no_error(self) -> None:
        for address in ("", "@nobody-listens-here", "/no/such/socket", "relative", "@" + "x" * 500):
            self.assertFalse(send(address, "READY=1"), address)

    def test_without_abstract_addresses_it_is_a_path_in_a_private_directory(self) -> None:
        with tempfile.TemporaryDirectory() as directory, mock.patch.object(notify, "_LINUX", False):
            receiver = Receiver(directory)
            private = os.path.dirname(receiver.address)
            self.assertEqual(os.path.dirname(private), directory)
            self.assertEqual(os.stat(private).st_mode & 0o777, 0o700)
            self.assertTrue(send(receiver.address, "READY=1"))
            self.assertEqual(receiver.receive(), (0, {"READY": "1"}))
            receiver.close()
            self.assertEqual(os.listdir(directory), [])


class ParseTest(unittest.TestCase):
    def test_the_last_of_two_equal_fields_counts(self) -> None:
        self.assertEqual(parse(b"READY=0\nREADY=1"), {"READY": "1"})


if __name__ == "__main__":
    unittest.main()

"""The logs of operations and trials."""

from __future__ import annotations

import os
import stat
import tempfile
import unittest
from unittest import mock

from hub_upgrade.host import operation_log
from hub_upgrade.host.files import Home


class OperationLogTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Home(os.path.join(directory.name, "home"))

    def kept(self, operation_id: str) -> bool:
        """Whether what is written into this operation's log is kept."""
        descriptor = operation_log.open_log(self.home, operation_id)
        self.addCleanup(os.close, descriptor)
        return stat.S_ISREG(os.fstat(descriptor).st_mode)

    def test_directories_among_the_old_logs_are_no_hindrance(self) -> None:
        for number in range(9):
            os.makedirs(operation_log.path_of(self.home, "upgrade", f"d{number}"))
        self.assertTrue(self.kept("o1"))

    def test_an_old_log_that_somebody_else_drops_meanwhile_is_no_hindrance(self) -> None:
        os.makedirs(self.home.logs)
        with mock.patch.object(os, "listdir", return_value=["upgrade-gone.log"]):
            self.assertTrue(self.kept("o1"))

    def test_a_pipe_that_nobody_reads_is_not_waited_for(self) -> None:
        os.makedirs(self.home.logs)
        os.mkfifo(operation_log.path_of(self.home, "upgrade", "o1"))
        self.assertFalse(self.kept("o1"))

    def test_an_identifier_leads_nowhere_else(self) -> None:
        for odd in ("../../etc/passwd", "a\0b", "/", "x" * 5000, "\ud800"):
            self.assertTrue(self.kept(odd), odd)
        for name in os.listdir(self.home.logs):
            self.assertRegex(name, r"^upgrade-[\w.-]+\.log$")

    def test_five_of_a_kind_are_kept(self) -> None:
        for number in range(8):
            for kind in ("upgrade", "trial"):
                os.close(operation_log.append_to(self.home, kind, str(number)))
                os.utime(operation_log.path_of(self.home, kind, str(number)), (number, number))
        names = sorted(os.listdir(self.home.logs))
        wanted = [f"{kind}-{n}.log" for kind in ("trial", "upgrade") for n in range(3, 8)]
        self.assertEqual(names, wanted)


if __name__ == "__main__":
    unittest.main()

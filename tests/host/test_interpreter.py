from __future__ import annotations

import os
import sys
import tempfile
import unittest
from unittest import mock

from hub_upgrade.host import interpreter


class InterpreterTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def python3(self, folder: str, mode: int = 0o755, directory: bool = False) -> str:
        os.mkdir(os.path.join(self.directory, folder))
        path = os.path.join(self.directory, folder, "python3")
        if directory:
            os.mkdir(path)
        else:
            with open(path, "w") as file:
                file.write("#!/bin/sh\n")
            os.chmod(path, mode)
        return path

    def find(self, executable: str, *folders: str) -> str:
        path = os.pathsep.join(os.path.join(self.directory, folder) for folder in folders)
        ours = mock.patch.object(sys, "executable", executable)
        with ours, mock.patch.dict(os.environ, {"PATH": path}):
            return interpreter.find()

    def test_the_interpreter_that_runs_us_runs_the_release(self) -> None:
        other = self.python3("a")
        self.assertEqual(self.find(sys.executable, "a"), sys.executable)
        self.assertNotEqual(other, sys.executable)

    def test_when_it_is_gone_the_first_python3_on_the_path_does(self) -> None:
        self.python3("plain", mode=0o644)
        self.python3("folder", directory=True)
        wanted = self.python3("good")
        self.python3("later")
        for gone in ("/no/such/python", ""):
            found = self.find(gone, "missing", "plain", "folder", "good", "later")
            self.assertEqual(found, wanted)

    def test_one_that_is_too_old_by_its_real_name_is_passed_over(self) -> None:
        for folder, real in (("old", "python3.8"), ("new", "python3.10")):
            path = self.python3(folder)
            os.rename(path, os.path.join(os.path.dirname(path), real))
            os.symlink(real, path)
        self.assertEqual(self.find("", "old", "new"), os.path.join(self.directory, "new/python3"))

    def test_none_at_all_is_said_by_an_empty_name(self) -> None:
        self.assertEqual(self.find("/no/such/python", "missing"), "")

    def test_a_release_runs_isolated_and_without_site_packages(self) -> None:
        argv = interpreter.command("/r/hub.pyz", "run", "x")
        self.assertEqual(argv, [sys.executable, "-I", "-S", "/r/hub.pyz", "run", "x"])


if __name__ == "__main__":
    unittest.main()

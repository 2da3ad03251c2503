from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.host import files
from hub_upgrade.hub import handoff
from hub_upgrade.hub.handoff import Record, get, put

RECORD = Record([{"fd": 7, "output": "YWJj", "peer": "127.0.0.1"}], [4711, 4712])


class HandoffTest(unittest.TestCase):
    def read(self, value: Any) -> Record:
        """What the next image makes of a record with this content."""
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return get(descriptor)

    def test_what_one_image_leaves_the_next_finds_and_the_descriptor_is_closed(self) -> None:
        descriptor = put(RECORD)
        self.assertEqual(get(descriptor), RECORD)
        with self.assertRaises(OSError):
            os.fstat(descriptor)

    def test_it_survives_an_exec(self) -> None:
        descriptor = put(RECORD)
        code = f"import os, sys; sys.stdout.buffer.write(os.read({descriptor}, 10000))"
        found = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code],
            close_fds=False, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        os.close(descriptor)
        self.assertEqual(json.loads(found.stdout)["children"], RECORD.children)
        self.assertEqual(json.loads(found.stdout)["format"], 1)

    def test_without_memory_files_it_is_a_file_that_nobody_else_finds(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            here = mock.patch.dict(os.environ, {"TMPDIR": directory})
            with here, mock.patch.object(handoff, "os", _WithoutMemoryFiles()):
                descriptor = put(RECORD)
            self.assertEqual(os.listdir(directory), [])
            self.assertEqual(os.fstat(descriptor).st_nlink, 0)
        self.assertEqual(get(descriptor), RECORD)

    def test_one_that_cannot_be_written_leaves_no_descriptor_open(self) -> None:
        before = len(os.listdir("/dev/fd"))
        full = mock.patch.object(files, "write_all", side_effect=OSError)
        with full, self.assertRaises(OSError):
            put(RECORD)
        with self.assertRaises(TypeError):
            put(Record([{"fd": object()}], []))
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_what_is_no_record_of_a_known_version_is_refused_and_closed(self) -> None:
        before = len(os.listdir("/dev/fd"))
        wrong: tuple[Any, ...] = (
            b"", b"{", b"\xff", b"[" * 100_000, [], 7, None, {},
            {"format": 2}, {"format": "1"}, {"format": [1]},
        )  # fmt: skip
        for value in wrong:
            with self.subTest(value=value), self.assertRaises(ValueError):
                self.read(value)
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_what_is_missing_or_odd_in_it_is_left_out(self) -> None:
        self.assertEqual(self.read({"format": 1}), Record([], []))
        odd = {"format": 1, "connections": {}, "children": "12", "future": 1}
        self.assertEqual(self.read(odd), Record([], []))
        pids = [5, 0, 1, -1, True, None, "7", 6.5, 8]
        self.assertEqual(self.read({"format": 1, "children": pids}).children, [5, 8])


class _WithoutMemoryFiles:
    """The module os of a system that has none."""

    def __getattr__(self, name: str) -> Any:
        if name == "memfd_create":
            raise AttributeError(name)
        return getattr(os, name)


if __name__ == "__main__":
    unittest.main()

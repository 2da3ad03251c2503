"""`hub.pyz release publish` as an operator runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

import build_pyz
from hub_upgrade import repository
from hub_upgrade.host.files import sha256_file

TIME_LIMIT_S = 60


class Release(unittest.TestCase):
    root: ClassVar[Path]
    file: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.root = Path(holder.name)
        cls.file = cls.root / "hub.pyz"
        build_pyz.build(cls.file, "1.2.3-rc.1")

    def release(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self.file, "release", *map(str, arguments)],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )

    def test_a_file_is_published_under_the_version_it_tells(self) -> None:
        done = self.release("publish", "a", "--channel", "latest", self.file, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        told = json.loads(done.stdout)
        digest = sha256_file(str(self.file))
        self.assertEqual((told["version"], told["digest"]), ("1.2.3-rc.1", digest))
        latest = repository.read(str(self.root / "a")).channel("latest")
        self.assertEqual(latest and latest.digest, digest)
        again = self.release("publish", "a", self.file, "--channel", "rc")
        self.assertIn(f"rc is now 1.2.3-rc.1 (sha256 {digest})", again.stdout)

    def test_a_url_is_wrong_usage_and_no_directory_is_made(self) -> None:
        done = self.release("publish", "https://x.example/r", self.file, "--channel", "rc")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("https://x.example/r: until releases are signed, only a local", done.stderr)
        self.assertFalse((self.root / "https:").exists())

    def test_other_bytes_of_a_version_are_refused_in_one_line(self) -> None:
        other = self.root / "other.pyz"
        build_pyz.build(other, "1.2.3-rc.1", source_only=True)
        self.assertEqual(self.release("publish", "b", "--channel", "rc", self.file).returncode, 0)
        done = self.release("publish", "b", "--channel", "rc", other)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
        self.assertIn("under another version", done.stderr)

    def test_what_does_not_run_is_not_published(self) -> None:
        text = self.root / "text.pyz"
        text.write_text("print('1.0.0')\n")
        silent = self.root / "silent.pyz"
        silent.write_text("raise SystemExit(3)\n")
        for file in (text, silent, self.root / "missing.pyz", self.root):
            done = self.release("publish", "c", "--channel", "latest", file)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertIn("is not a release that runs", done.stderr)
        self.assertFalse((self.root / "c").exists())

    def test_wrong_usage_is_told_in_one_line(self) -> None:
        for arguments in (
            (),
            ("publish",),
            ("publish", "d", self.file),
            ("publish", "d", self.file, "--channel", "beta"),
            ("publish", "d", self.file, "--channel"),
            ("destroy", "d", self.file, "--channel", "rc"),
            ("publish", "d", self.file, "--channel", "rc", "--what"),
        ):
            done = self.release(*arguments)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
        self.assertFalse((self.root / "d").exists())

    def test_help_has_an_example_exit_codes_and_files(self) -> None:
        done = self.release("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("example:", "exit codes:", "files:"):
            self.assertIn(word, done.stdout)


if __name__ == "__main__":
    unittest.main()

"""The packed code: found by the Python that compiled it, passed over by every other."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

import build_pyz
from hub_upgrade import packed


class PackedTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.file = Path(scratch.name, "hub.pyz")

    def members(self) -> dict[str, bytes]:
        build_pyz.build(self.file)
        with zipfile.ZipFile(self.file) as archive:
            return {entry.filename: archive.read(entry) for entry in archive.infolist()}

    def run_it(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", str(self.file), *argv],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def test_every_hot_module_is_in_one_group_and_the_index_names_it(self) -> None:
        members = self.members()
        groups = {
            name[len("hub_upgrade/") : -len(".code")]: marshal.loads(data[4:])
            for name, data in members.items()
            if name.endswith(".code")
        }
        index = groups[packed.FIRST].pop("")
        self.assertEqual({m: g for g, found in groups.items() for m in found}, index)
        self.assertEqual(len(index), sum(map(len, groups.values())))
        hot = {build_pyz._module(name) for name in members if build_pyz._is_hot(name)}
        loose = {build_pyz._module(name) for name in build_pyz.LOOSE}
        self.assertEqual(hot - loose, set(index))

    def test_the_launcher_reads_no_group_but_its_own(self) -> None:
        members = self.members()
        for group in ("run", build_pyz.OTHERS):
            del members[f"hub_upgrade/{group}.code"]
        self.file.write_bytes(build_pyz.archive(members))
        self.assertIn("unknown argument", self.run_it("serve", "--no-such-flag").stderr)

    def test_another_python_s_code_and_none_at_all_mean_the_source(self) -> None:
        members = self.members()
        codes = [name for name in members if name.endswith(".code")]
        other = {**members, **dict.fromkeys(codes, b"\0\0\0\0nonsense")}
        none = {name: data for name, data in members.items() if name not in codes}
        for changed in (other, none):
            self.file.write_bytes(build_pyz.archive(changed))
            self.assertEqual((self.run_it("version").stderr, self.run_it("version").stdout),
                             ("", "0.1.0\n"))

    def test_the_code_that_runs_is_the_packed_one(self) -> None:
        members = self.members()
        source = "hub_upgrade/cli/version.py"
        self.file.write_bytes(build_pyz.archive({**members, source: b"raise SystemExit(9)\n"}))
        self.assertEqual(self.run_it("version").stdout, "0.1.0\n")

    def test_a_traceback_shows_the_line_of_the_source(self) -> None:
        text = (
            b"import traceback\n"
            b"def main(argv):\n"
            b"    try:\n"
            b"        raise KeyError(argv)\n"
            b"    except KeyError:\n"
            b"        traceback.print_exc()\n"
        )
        build_pyz.build(self.file, overlay={"hub_upgrade/cli/version.py": text})
        self.assertIn("    raise KeyError(argv)\n", self.run_it("version").stderr)

    def test_names_of_modules_say_where_they_lie(self) -> None:
        text = (
            b"import hub_upgrade.cli\n"
            b"def main(argv):\n"
            b"    print(__file__, __name__, __package__, *hub_upgrade.cli.__path__)\n"
            b"    return 0\n"
        )
        build_pyz.build(self.file, overlay={"hub_upgrade/cli/version.py": text})
        inside = os.path.join(self.file, "hub_upgrade", "cli")
        wanted = f"{inside}/version.py hub_upgrade.cli.version hub_upgrade.cli {inside}\n"
        self.assertEqual(self.run_it("version").stdout, wanted)

    def test_memory_is_given_back(self) -> None:
        finder = packed.Finder("/nowhere", lambda _path: b"")
        finder._found = {"x": (False, b"code")}
        finder.forget()
        self.assertEqual({}, finder._found)
        self.assertIsNone(finder.find_spec("x"))


if __name__ == "__main__":
    unittest.main()

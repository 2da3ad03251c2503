"""The packed code: found by the Python that compiled it, passed over by every other."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

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

    def groups(self, members: dict[str, bytes], kind: str) -> dict[str, dict[str, Any]]:
        read = packed.texts if kind == packed.SOURCE else lambda data: marshal.loads(data[4:])
        return {
            name[len("hub_upgrade/") : -len(kind)]: read(data)
            for name, data in members.items()
            if name.endswith(kind)
        }

    def test_every_module_is_in_one_group_and_the_index_names_it(self) -> None:
        members = self.members()
        codes, sources = (self.groups(members, kind) for kind in (packed.CODE, packed.SOURCE))
        index = codes[packed.FIRST].pop("")
        self.assertEqual({m: g for g, found in sources.items() for m in found}, index)
        self.assertEqual(len(index), sum(map(len, sources.values())))
        self.assertEqual(tuple(sources), tuple(sorted(packed.GROUPS)))
        rest = sources.pop(packed.REST)
        self.assertEqual(
            {g: set(s) for g, s in sources.items()}, {g: set(c) for g, c in codes.items()}
        )
        modules = {build_pyz._module(name) for name in build_pyz.sources() if name.endswith(".py")}
        loose = {build_pyz._module(name) for name in build_pyz.LOOSE}
        self.assertEqual(modules - loose, set(index))
        self.assertEqual({name for name in members if name.endswith(".py")}, set(build_pyz.LOOSE))
        late = {"cli.status", "cli.checkup", "wiring.helper", "upgrade.transaction", "sources.pyz"}
        self.assertEqual({f"hub_upgrade.{name}" for name in late} - set(rest), set())

    def test_a_member_of_sources_reads_as_the_files_it_holds(self) -> None:
        sources = build_pyz.sources()
        found = self.groups(self.members(), packed.SOURCE)
        for group in found.values():
            for module, (package, text) in group.items():
                path = module.replace(".", "/") + ("/__init__.py" if package else ".py")
                self.assertEqual(text, sources[path], path)

    def test_what_must_start_fast_reads_no_group_but_its_own_and_no_source(self) -> None:
        members = self.members()
        for command in ("serve", "run", "helper", "version"):
            wanted = {packed.FIRST + packed.CODE, command + packed.CODE}
            wanted |= {"serve.code"} if command == "run" else set()
            wanted = {f"hub_upgrade/{name}" for name in wanted}
            spoiled = {
                name: MAGIC_NUMBER if name.endswith(packed.CODE) else packed.HEADING + b"\xff"
                for name in members
                if name not in wanted and name.endswith((packed.CODE, packed.SOURCE))
            }
            self.file.write_bytes(build_pyz.archive({**members, **spoiled}))
            done = self.run_it(command, "--no-such-flag")
            self.assertIn("unknown argument", done.stderr, command)
            self.assertEqual(done.returncode, 2, command)

    def test_another_python_s_code_and_none_at_all_mean_the_source(self) -> None:
        members = self.members()
        codes = [name for name in members if name.endswith((".code", ".pyc"))]
        other = {**members, **dict.fromkeys(codes, b"\0\0\0\0nonsense")}
        none = {name: data for name, data in members.items() if name not in codes}
        for changed in (other, none):
            self.file.write_bytes(build_pyz.archive(changed))
            done = self.run_it("version")
            self.assertEqual((done.stderr, done.stdout), ("", "0.1.0\n"))
            for command in ("serve", "run", "helper", "status"):
                self.assertIn("unknown argument", self.run_it(command, "--no-such-flag").stderr)

    def test_the_code_that_runs_is_the_packed_one(self) -> None:
        members = self.members()
        other = packed.HEADING + b"hub_upgrade/cli/version.py\nraise SystemExit(9)\n"
        members[f"hub_upgrade/{packed.FIRST}{packed.SOURCE}"] = other
        self.file.write_bytes(build_pyz.archive(members))
        self.assertEqual(self.run_it("version").stdout, "0.1.0\n")

    def test_a_late_import_finds_the_code_again(self) -> None:
        text = (
            b"import importlib\n"
            b"def main(argv):\n"
            b"    serve = importlib.import_module('hub_upgrade.launcher.serve')\n"
            b"    print(serve.main.__code__.co_filename)\n"
            b"    return 0\n"
        )
        build_pyz.build(self.file, overlay={"hub_upgrade/cli/version.py": text})
        done = self.run_it("version")
        self.assertEqual(done.stdout, "hub.pyz/hub_upgrade/launcher/serve.py\n", done.stderr)

    def test_a_module_that_is_not_there_is_not_found(self) -> None:
        text = b"def main(argv):\n    import hub_upgrade.cli.nothing\n"
        for lean in (False, True):
            overlay = {"hub_upgrade/cli/version.py": text}
            build_pyz.build(self.file, source_only=lean, overlay=overlay)
            complaint = self.run_it("version").stderr
            self.assertIn("No module named 'hub_upgrade.cli.nothing'", complaint)

    def test_a_source_inherits_nothing_from_the_finder(self) -> None:
        text = b"def main(argv):\n    class Here:\n        x: nowhere = 0\n    return Here.x\n"
        build_pyz.build(self.file, source_only=True, overlay={"hub_upgrade/cli/version.py": text})
        if sys.version_info < (3, 14):  # from there on nobody asks what an annotation is
            self.assertIn("NameError", self.run_it("version").stderr)

    def test_a_traceback_shows_the_line_of_the_source(self) -> None:
        text = (
            b"import traceback\n"
            b"def main(argv):\n"
            b"    try:\n"
            b"        raise KeyError(argv)\n"
            b"    except KeyError:\n"
            b"        traceback.print_exc()\n"
        )
        for name, command in (("version", "version"), ("status", "status")):
            for lean in (False, True):
                overlay = {f"hub_upgrade/cli/{name}.py": text}
                build_pyz.build(self.file, source_only=lean, overlay=overlay)
                complaint = self.run_it(command).stderr
                self.assertIn(f'hub_upgrade/cli/{name}.py", line 4, in main\n', complaint)
                self.assertIn("    raise KeyError(argv)\n", complaint)

    def test_names_of_modules_say_where_they_lie(self) -> None:
        text = (
            b"import hub_upgrade.cli\n"
            b"def main(argv):\n"
            b"    print(__file__, __name__, __package__, *hub_upgrade.cli.__path__)\n"
            b"    return 0\n"
        )
        inside = os.path.join(self.file, "hub_upgrade", "cli")
        wanted = f"{inside}/version.py hub_upgrade.cli.version hub_upgrade.cli {inside}\n"
        for lean in (False, True):
            overlay = {"hub_upgrade/cli/version.py": text}
            build_pyz.build(self.file, source_only=lean, overlay=overlay)
            self.assertEqual(self.run_it("version").stdout, wanted)

    def test_memory_is_given_back(self) -> None:
        source = packed.HEADING + b"hub_upgrade/x.py\nA = 1\n"
        finder = packed.Finder("/nowhere", lambda path: source if path.endswith(".source") else b"")
        self.assertEqual(finder.get_source("hub_upgrade.x"), "A = 1\n")
        self.assertNotEqual({}, finder._members)
        finder.forget()
        self.assertEqual({}, finder._members)
        self.assertIsNotNone(finder.find_spec("hub_upgrade.x"))
        self.assertIsNone(finder.find_spec("hub_upgrade.y"))
        self.assertIsNone(finder.find_spec("x"))


if __name__ == "__main__":
    unittest.main()

"""One reproducible file: the same bytes from the same sources, and it tells old Pythons."""

from __future__ import annotations

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import build_pyz
from hub_upgrade import packed
from hub_upgrade.host.files import sha256_file
from tests import every_python

TIME_LIMIT_S = 60


def run(*command: str | os.PathLike[str], **options: object) -> subprocess.CompletedProcess[str]:
    """A finished process with its output as text."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False, **options
    )


class Build(unittest.TestCase):
    directory: ClassVar[Path]
    file: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.directory = Path(holder.name)
        cls.file = cls.directory / "hub.pyz"
        build_pyz.build(cls.file)

    def build(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        output = self.directory / name
        script = build_pyz.ROOT / "build_pyz.py"
        return run(sys.executable, script, "--output", output, *arguments)

    def copy_of_the_sources(self, name: str) -> Path:
        copy = self.directory / name
        copy.mkdir(parents=True)
        for part in ("build_pyz.py", "LICENSE"):
            shutil.copy(build_pyz.ROOT / part, copy)
        shutil.copytree(
            build_pyz.ROOT / "hub_upgrade",
            copy / "hub_upgrade",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for path in copy.rglob("*.py"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        return copy

    def test_two_directories_and_two_times_give_the_same_bytes(self) -> None:
        first = self.copy_of_the_sources("a")
        second = self.directory / "b" / "deeper and longer"
        shutil.copytree(first, second)
        for path in second.rglob("*.py"):
            os.utime(path)
        digests = set()
        for place, seed in ((first, "1"), (second, "random")):
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            done = run(sys.executable, "build_pyz.py", cwd=place, env=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            digests.add(sha256_file(str(place / "dist" / "hub.pyz")))
            self.assertTrue(done.stdout.startswith(sha256_file(str(place / "dist" / "hub.pyz"))))
        self.assertEqual(len(digests), 1)

    def test_source_only_is_the_same_on_every_python_with_the_same_zlib(self) -> None:
        ask = "import zlib; print(zlib.ZLIB_RUNTIME_VERSION)"
        place = self.copy_of_the_sources("c")
        digests: dict[str, set[str]] = {}
        found_here = every_python.find()
        ends = [one.path for one in (*found_here[:1], *found_here[-1:])]
        for path in dict.fromkeys([*ends, sys.executable]):  # the others when they run this
            done = run(path, "build_pyz.py", "--source-only", cwd=place)
            self.assertEqual(done.returncode, 0, done.stderr)
            zlib = run(path, "-c", ask).stdout
            digests.setdefault(zlib, set()).add(done.stdout.split()[0])
        for zlib, found in digests.items():
            self.assertEqual(len(found), 1, f"zlib {zlib}")

    def test_it_is_small(self) -> None:
        self.assertLessEqual(self.file.stat().st_size, build_pyz.MOST_BYTES)
        lean = self.directory / "source.pyz"
        build_pyz.build(lean, source_only=True)
        self.assertLessEqual(lean.stat().st_size, build_pyz.MOST_SOURCE_BYTES)

    def test_prose_is_left_out_and_the_code_stays_on_its_lines(self) -> None:
        class Lines(ast.NodeVisitor):
            def __init__(self) -> None:
                self.found: list[tuple[object, ...]] = []

            def generic_visit(self, node: ast.AST) -> None:
                if build_pyz._is_prose(node) or isinstance(node, ast.Pass):
                    return
                text = isinstance(node, ast.Constant) and isinstance(node.value, str)
                line = None if text else getattr(node, "lineno", None)
                plain: list[object] = []
                for name, value in ast.iter_fields(node):
                    if name not in ("annotation", "returns", "kind"):
                        plain += [v for v in (value, *_list(value)) if isinstance(v, (str, int))]
                        for inner in (value, *_list(value)):
                            if isinstance(inner, ast.AST):
                                self.visit(inner)
                self.found.append((type(node).__name__, line, *plain))

        def _list(value: object) -> list[object]:
            return value if isinstance(value, list) else []

        for path in sorted((build_pyz.ROOT / "hub_upgrade").rglob("*.py")):
            with self.subTest(path=path.name):
                before, after = Lines(), Lines()
                source = path.read_bytes()
                lean = build_pyz.without_prose(source)
                before.visit(ast.parse(source))
                after.visit(ast.parse(lean))
                self.assertEqual(before.found, after.found)
                self.assertFalse([n for n in ast.walk(ast.parse(lean)) if build_pyz._is_prose(n)])
                compile(lean, path.name, "exec")

    def test_annotations_are_left_out_but_for_the_names_of_fields(self) -> None:
        code = (
            "from __future__ import annotations\n"
            "from hub_upgrade.shapes import NamedTuple\n"
            "class Point(NamedTuple):\n"
            "    x: int  # right\n"
            "    name: str = 'é:->'\n"
            "def f(é: 'é', *rest: int, k: dict[str, A] = {1: 2}, **more: A.B) -> Call[[A], A]:\n"
            "    y: int\n"
            "    y = z = lambda a, b=1: a\n"
            "    f.kept: Missing = k\n"
            "    return y(é), k, rest, more, Point(1)\n"
            "def g(\n"
            "    a: Call[\n"
            "        A,\n"
            "        B, C],\n"
            ") -> A: return a\n"
        )
        lean = build_pyz.without_prose(code.encode()).decode()
        shown = lean.splitlines()
        self.assertEqual(len(shown), len(code.splitlines()))
        self.assertEqual(shown[3:9], [
            " x: 0", " name: 0 = 'é:->'", "def f(é, *rest, k = {1: 2}, **more):", " y: 0",
            " y = z = lambda a, b=1: a", " f.kept: 0 = k"])  # fmt: skip
        self.assertEqual(shown[14], "): return a")
        results = []
        for text in (code, lean):
            names: dict[str, Any] = {}
            exec(text, names)
            results.append((names["f"](1, 2, m=3), names["Point"]._fields, names["g"](5)))
        self.assertEqual(results[0], results[1])

    def test_a_text_like_the_lines_between_the_packed_files_is_refused(self) -> None:
        strange = {"hub_upgrade/cli/status.py": b"A = 1\n\f# other.py\n"}
        with self.assertRaisesRegex(build_pyz.BuildError, "hub_upgrade/cli/status.py"):
            build_pyz.build(self.directory / "never.pyz", overlay=strange)
        self.assertFalse((self.directory / "never.pyz").exists())

    def test_a_text_of_several_lines_keeps_its_spaces(self) -> None:
        code = (
            "def f(a):\n"
            '    text = """one\n'
            "        two # three\n"
            '    """\n'
            "    more = (f'''{a}\n"
            "        {a}''',\n"
            "            a)\n"
            "    return text, more\n"
        )
        lean = build_pyz.without_prose(code.encode()).decode()
        indented = [line for line in lean.splitlines() if line.startswith("  ")]
        self.assertEqual(indented, ["        two # three", '    """', "        {a}''',", "   a)"])
        results = []
        for text in (code, lean):
            names: dict[str, Any] = {}
            exec(text, names)
            results.append(names["f"](1))
        self.assertEqual(results[0], results[1])

    def test_the_page_keeps_its_lines_and_loses_its_margins(self) -> None:
        lean = build_pyz.without_margin(b"f();\n  // why\n  g('// text'); // here\n\n    h();\n")
        self.assertEqual(lean, b"f();\n\ng('// text'); // here\n\nh();\n")
        for path in (build_pyz.ROOT / "hub_upgrade" / "web" / "page").iterdir():
            text = path.read_text(encoding="utf-8")
            self.assertEqual(text.count("`") % 2, 0, path)
            uneven = [line for line in text.splitlines() if line.count("`") % 2]
            self.assertEqual(uneven, [], f"{path.name}: a text that goes on over the line's end")

    def test_it_runs_by_its_name_and_by_its_shebang(self) -> None:
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o755)
        for command in ([sys.executable, "-I", "-S", self.file], [self.file]):
            done = run(*command, "version")
            self.assertEqual((done.returncode, done.stdout), (0, "0.1.0\n"), done.stderr)

    def test_every_interpreter_runs_it_and_this_one_without_reading_the_source(self) -> None:
        for one in every_python.find():
            done = run(one.path, "-I", "-S", self.file, "version")
            self.assertEqual(done.stdout, "0.1.0\n", done.stderr)
        with zipfile.ZipFile(self.file) as file:
            compiled = {
                entry.filename: file.read(entry)
                for entry in file.infolist()
                if entry.filename.endswith((".pyc", ".code"))
            }
        without = self.directory / "compiled.pyz"
        without.write_bytes(build_pyz.archive(compiled))
        self.assertEqual(run(sys.executable, without, "version").stdout, "0.1.0\n")

    def test_the_version_is_put_in(self) -> None:
        done = self.build("v.pyz", "--version", "v2.0.0-rc.1")
        self.assertEqual(done.returncode, 0, done.stderr)
        told = run(sys.executable, self.directory / "v.pyz", "version", "--json")
        self.assertEqual(json.loads(told.stdout)["version"], "2.0.0-rc.1")

    def test_an_invalid_version_is_refused_in_one_sentence(self) -> None:
        for version in ("1.0", "", '1.0.0"; import os #', "../1.0.0"):
            done = self.build("never.pyz", "--version", version)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
        self.assertFalse((self.directory / "never.pyz").exists())

    def test_a_failed_build_leaves_the_old_file(self) -> None:
        place = self.copy_of_the_sources("d")
        (place / "dist").mkdir()
        (place / "dist" / "hub.pyz").write_text("old")
        (place / "hub_upgrade" / "settings.py").write_text("def broken(:\n")
        done = run(sys.executable, "build_pyz.py", cwd=place)
        self.assertEqual(done.returncode, 1)
        self.assertIn("hub_upgrade/settings.py", done.stderr)
        self.assertEqual(os.listdir(place / "dist"), ["hub.pyz"])
        self.assertEqual((place / "dist" / "hub.pyz").read_text(), "old")

    def test_an_overlay_makes_a_release_that_misbehaves(self) -> None:
        output = self.directory / "bad.pyz"
        for text, complaint in ((b"raise SystemExit(7)\n", None), (b"def x(:\n", "SyntaxError")):
            build_pyz.build(output, "3.0.0", overlay={"hub_upgrade/cli/version.py": text})
            done = run(sys.executable, output, "version")
            self.assertEqual(done.returncode, 1 if complaint else 7)
            self.assertIn(complaint or "", done.stderr)
        build_pyz.build(output, overlay={"hub_upgrade/cli/version.py": None})
        self.assertIn("unknown command", run(sys.executable, output, "version").stderr)

    def test_an_overlay_of_what_is_not_compiled_works_too(self) -> None:
        output = self.directory / "cold.pyz"
        name = "hub_upgrade/cli/status.py"
        self.assertEqual(build_pyz.groups(build_pyz.sources())[name], packed.REST)
        for text, code in ((b"def main(argv):\n    return 7\n", 7), (None, 2)):
            for lean in (False, True):
                build_pyz.build(output, source_only=lean, overlay={name: text})
                done = run(sys.executable, output, "status")
                self.assertEqual(done.returncode, code, done.stderr)

    def test_tracebacks_tell_lines_and_no_path_of_the_builder(self) -> None:
        output = self.directory / "raises.pyz"
        text = b"def main(argv):\n    raise KeyError(argv)\n"
        build_pyz.build(output, overlay={"hub_upgrade/cli/version.py": text})
        complaint = run(sys.executable, output, "version", cwd=build_pyz.ROOT).stderr
        self.assertIn('hub_upgrade/cli/version.py", line 2, in main', complaint)
        self.assertNotIn(str(build_pyz.ROOT), complaint)


class Door(unittest.TestCase):
    """What one is told by a Python that is too old, or not all there."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.file = Path(holder.name) / "hub.pyz"
        build_pyz.build(self.file)

    def test_an_old_python_gets_one_sentence(self) -> None:
        old = [
            path / "python"
            for path in every_python.version_directories()
            if path.parts[-2].startswith(("2.7", "3.6", "3.7", "3.8"))
        ]
        if not old:
            self.skipTest("no old Python here")
        for path in old:
            done = run(path, self.file, "version")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"^hub.pyz needs Python 3.9 or newer, and this is .*\n$")

    def test_a_library_that_is_not_all_there_is_named_with_its_package(self) -> None:
        hide = "import sys, runpy; sys.modules['json'] = None; sys.argv = sys.argv[1:];"
        run_it = "runpy.run_path(sys.argv[0], run_name='__main__')"
        done = run(sys.executable, "-I", "-c", hide + run_it, self.file, "version")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
        self.assertIn("'json'", done.stderr)
        self.assertIn("libpython3-stdlib", done.stderr)

    def test_usage_lists_only_the_commands_that_are_there(self) -> None:
        build_pyz.build(self.file, overlay={"hub_upgrade/cli/version.py": None})
        done = run(sys.executable, self.file, "--help")
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("which version this file is", done.stdout)
        self.assertIn("run the hub and look after it", done.stdout)

    def test_no_command_and_an_unknown_one_are_wrong_usage(self) -> None:
        self.assertEqual(run(sys.executable, self.file).returncode, 2)
        done = run(sys.executable, self.file, "dance")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1))


if __name__ == "__main__":
    unittest.main()

"""Which file a process executes, by its arguments; and the links on a path."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest

from hub_upgrade.host.executed import HubProcess, executed_from, trail


class Tree(unittest.TestCase):
    """A directory of its own, in which files are made and named by their paths."""

    def setUp(self) -> None:
        self.root = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)

    def at(self, path: str) -> str:
        return os.path.join(self.root, path) if path else self.root

    def make(self, path: str, text: str = "") -> str:
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        with open(self.at(path), "w", encoding="utf-8") as file:
            file.write(text)
        return self.at(path)

    def link(self, path: str, target: str) -> str:
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        os.symlink(target, self.at(path))
        return self.at(path)

    def relative(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(os.path.relpath(path, self.root) for path in paths)


class Executed(Tree):
    def process(self, command: str, exe: str = "", cwd: str = "") -> HubProcess:
        words = tuple(command.replace("@", self.root).split(" "))
        return HubProcess(7, "1", words, self.at(cwd), exe or "/usr/bin/" + words[0])

    def test_the_file_is_found_among_the_arguments(self) -> None:
        for path in ("src/cli.ts", "boot.ts", "env", "dist/index.js", "hub.py", "start.sh",
                     "pkg/__main__.py", "run/x", "app.jar", "hub/bin"):  # fmt: skip
            self.make(path)
        for command, wanted in (
            ("bun src/cli.ts serve", ("src/cli.ts",)),
            ("bun run src/cli.ts", ("src/cli.ts",)),
            ("bun run --watch ./src/cli.ts --port 1", ("src/cli.ts",)),
            ("bun --preload boot.ts src/cli.ts", ("src/cli.ts",)),
            ("bun -r boot.ts --env-file env src/cli.ts", ("src/cli.ts",)),
            ("bun --preload=boot.ts @/src/cli.ts", ("src/cli.ts",)),
            ("bun src/cli", ("src/cli.ts",)),
            ("bun run start", (".",)),
            ("bun start", (".",)),
            ("bun run --silent start", (".",)),
            ("bun serve.ts", ()),
            ("bun -e boot.ts src/cli.ts", ()),
            ("node --require boot.ts --import boot.ts src/cli.ts", ("src/cli.ts",)),
            ("node --max-old-space-size=9 -- src/cli.ts", ("src/cli.ts",)),
            ("node dist", ("dist/index.js",)),
            ("node .", (".",)),
            ("node ./dist", ("dist",)),
            ("node missing.js src/cli.ts", ()),
            ("node --eval 1 src/cli.ts", ()),
            ("node", ()),
            ("deno run -A --config env src/cli.ts", ("src/cli.ts",)),
            ("deno task start", (".",)),
            ("sh start.sh src/cli.ts", ("start.sh",)),
            ("bash -c src/cli.ts", ()),
            ("ruby3.1 -I env run/x", ("run/x",)),
            ("java -cp env -jar app.jar", ("app.jar",)),
        ):  # fmt: skip
            process = self.process(command)
            self.assertEqual(self.relative(executed_from(process)), wanted, command)
        process = self.process("a-program-nobody-knows --config=x src/cli.ts")
        self.assertEqual(executed_from(process), (process.exe, self.at("src/cli.ts")))

    def test_a_package_managers_title_means_its_directory(self) -> None:
        process = HubProcess(7, "1", ("npm start",), self.root, "/usr/bin/node")
        self.assertEqual(executed_from(process), (self.root,))
        titled = process._replace(argv=("parachute-hub",))
        self.assertEqual(executed_from(titled), ())

    def test_relative_names_need_to_be_relative_to_something(self) -> None:
        path = self.make("hub.js")
        process = HubProcess(7, "1", ("node", "hub.js"), "", "/usr/bin/node")
        self.assertEqual(executed_from(process), ())
        self.assertEqual(executed_from(process._replace(argv=("node", path))), (path,))

    def test_nothing_is_told_of_other_peoples_files(self) -> None:
        path = self.make("hub.js")
        process = HubProcess(7, "1", ("node", path), self.root, "/usr/bin/node")
        self.assertEqual(executed_from(process._replace(foreign=True)), ())
        for argv in ((), ("",)):
            self.assertEqual(executed_from(process._replace(argv=argv)), ())

    def test_a_virtual_environments_python_is_not_the_systems(self) -> None:
        system = self.make("usr/bin/python3.11")
        python = self.link("venv/bin/python", system)
        script = self.make("venv/bin/hub")
        module = self.make("venv/lib/python3.11/site-packages/hub/__main__.py")
        plain = self.make("venv/lib/python3.11/site-packages/plain.py")
        here = self.make("work/local.py")
        for words, wanted in (
            ((script,), (script, python)),
            (("-u", script), (script, python)),
            (("-m", "hub"), (module, python)),
            (("-um", "hub", script), (module, python)),
            (("-mplain",), (plain, python)),
            (("-m", "local"), (here, python)),
            (("-Im", "local"), (python,)),
            (("-X", "dev", "-W", "error", "-m", "hub"), (module, python)),
            (("-m", "editable"), (python,)),
            (("-c", "code", script), ()),
            (("missing.py",), ()),
            ((), ()),
        ):
            process = HubProcess(7, "1", (python, *words), self.at("work"), system)
            self.assertEqual(executed_from(process), wanted, words)
        bare = HubProcess(7, "1", ("python3", "-m", "editable"), self.root, system)
        self.assertEqual(executed_from(bare), (system,), "nobody knows how it was found")

    def test_a_program_is_named_by_its_link_as_long_as_that_leads_to_it(self) -> None:
        exe = self.make("opt/hub-1/hub")
        link = self.link("bin/hub", exe)
        process = HubProcess(7, "1", ("bin/hub", "serve"), self.root, exe)
        self.assertEqual(executed_from(process), (link,))
        other = process._replace(exe=self.make("opt/hub-2/hub"))
        self.assertEqual(executed_from(other), (other.exe,))
        self.assertEqual(executed_from(process._replace(argv=("hub",))), (exe,))


class Trail(Tree):
    def test_every_link_on_the_way_is_a_step(self) -> None:
        real = self.make("checkout/src/cli.ts")
        self.link("bun/install/global/node_modules/hub", "../../../../checkout")
        self.link("bun/bin/hub", "../install/global/node_modules/hub/src/cli.ts")
        self.link("home", self.at("bun"))
        steps = trail(self.at("home/bin/hub"))
        self.assertEqual(steps[0], self.at("home/bin/hub"))
        self.assertIn(self.at("bun/bin/hub"), steps)
        modules = self.at("bun/install/global/node_modules/hub/src/cli.ts")
        self.assertIn(modules, [os.path.normpath(step) for step in steps])
        self.assertEqual(steps[-1], real)

    def test_the_last_step_is_the_real_path(self) -> None:
        self.make("a/b/file")
        self.link("a/up", "../a/b/..")
        self.link("here", ".")
        for path in ("a/b/file", "a/up/b/file", "here/here/a/b/file", "a//b/./file", "a/missing/x",
                     "a/b/../b/file"):  # fmt: skip
            steps = trail(self.at(path))
            self.assertEqual(steps[-1], os.path.realpath(self.at(path)), path)

    def test_a_loop_of_links_ends(self) -> None:
        self.link("x", "y")
        self.link("y", "x")
        self.assertLess(len(trail(self.at("x"))), 50)


if __name__ == "__main__":
    unittest.main()

"""Imports point one way, the domain is pure, and what lives for years stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORDER = (
    {"__init__", "errors", "packed", "shapes", "version"},
    {"domain"},
    {"host", "settings"},
    {"settings_table"},
    {"repository", "tuf"},
    {"sources", "restarters"},
    {"upgrade"},
    {"web", "supervisor"},
    {"hub", "launcher"},
    {"wiring"},
    {"cli"},
    {"__main__"},
)
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
LAUNCHERS = {"errors", "shapes", "version", "domain", "host", "settings", "launcher"}
IMPURE = {"os", "time", "socket", "subprocess", "io", "pathlib", "random", "signal", "select"}
HEAVY = {"subprocess", "argparse", "dataclasses", "asyncio", "ssl", "urllib.request", "uuid"}
HEAVY |= {"hashlib", "tempfile", "secrets", "hmac", "shutil", "logging", "threading", "typing"}


def modules() -> dict[str, ast.Module]:
    """Every module of the product, parsed, by its path below hub_upgrade."""
    root = ROOT / "hub_upgrade"
    paths = sorted(root.rglob("*.py"))
    return {path.relative_to(root).as_posix(): ast.parse(path.read_text()) for path in paths}


def imported(tree: ast.Module) -> set[str]:
    """The dotted names that a module imports, at any depth."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: str) -> str:
    """The room a module stands in: its directory, or its own name at the top."""
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


class Layers(unittest.TestCase):
    def test_imports_point_one_way(self) -> None:
        for path, tree in modules().items():
            here = room(path)
            for name in imported(tree):
                there = name.split(".")[1] if name.startswith("hub_upgrade.") else here
                allowed = RANKS[there] < RANKS[here] or (here, there) == ("settings", "host")
                if here == "launcher":
                    allowed = there in LAUNCHERS
                self.assertTrue(there == here or allowed, f"{path} imports {name}")

    def test_the_domain_is_pure(self) -> None:
        for path, tree in modules().items():
            if room(path) != "domain":
                continue
            roots = {name.split(".")[0] for name in imported(tree)}
            self.assertFalse(roots & IMPURE, path)
            calls = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
            names = {call.id for call in calls if isinstance(call, ast.Name)}
            self.assertFalse(names & {"open", "print", "input"}, path)

    def test_nothing_is_imported_late(self) -> None:
        """A late import after a swap would read another file."""
        for path, tree in modules().items():
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef):
                    late = {type(node) for node in ast.walk(function)}
                    self.assertFalse(late & {ast.Import, ast.ImportFrom}, path)

    def test_docstrings_are_for_readers_alone(self) -> None:
        """Compiled code has none, so nothing may print one."""
        for path, tree in modules().items():
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            self.assertFalse(names & {"__doc__", "get_type_hints", "__annotations__"}, path)

    def test_launcher_and_hub_load_nothing_heavy(self) -> None:
        for module, brought_by_http_server in (
            ("hub_upgrade.launcher.serve", set()),
            ("hub_upgrade.wiring.hub", {"shutil", "threading"}),
        ):
            code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module};"
            code += f"print(*(set(sys.modules) & {HEAVY - brought_by_http_server!r}))"
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", code],
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual((done.stdout.split(), done.stderr), ([], ""), module)


if __name__ == "__main__":
    unittest.main()

"""Build one reproducible `hub.pyz`: `python3 build_pyz.py [--output FILE] [--version X]`.

The archive holds the source, its prose (comments, docstrings) left out line for line so that
tracebacks still point to the right place, and a level of indentation one space. Beside it lies
the code of what must start fast, compiled by the interpreter that builds and packed together
(`hub_upgrade/packed.py`: only its own minor version of Python takes it up, and starts three times
faster; every other passes over it). The same sources give the same bytes, in every directory and
at every time.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import json
import marshal
import os
import re
import subprocess
import sys
import tokenize
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from hub_upgrade.domain.versions import is_version, normal
from hub_upgrade.host import files
from hub_upgrade.packed import FIRST

ROOT = Path(__file__).resolve().parent
OUTPUT = Path("dist") / "hub.pyz"
SHEBANG = b"#!/usr/bin/env python3\n"
MOST_BYTES = 340_000
MOST_SOURCE_BYTES = 190_000
COMPILE_LIMIT_S = 120.0
DATE = (1980, 1, 1, 0, 0, 0)
"""The oldest date that a zip can hold: a real one would make every build differ."""

COLD = (
    "hub_upgrade/cli/",
    "hub_upgrade/wiring/command.py",
    "hub_upgrade/wiring/helper.py",
    "hub_upgrade/restarters/",
    "hub_upgrade/upgrade/transaction.py",
    "hub_upgrade/upgrade/journal.py",
    "hub_upgrade/upgrade/plan.py",
    "hub_upgrade/upgrade/preflight.py",
    "hub_upgrade/upgrade/candidate.py",
    "hub_upgrade/host/commands.py",
    "hub_upgrade/repository.py",
    "hub_upgrade/sources/",
    "hub_upgrade/web/openapi.py",
    "hub_upgrade/settings_table.py",
)
HOT = ("hub_upgrade/cli/__init__.py", "hub_upgrade/cli/helper.py", "hub_upgrade/cli/version.py")
"""What only a person at a terminal or a helper waits for is packed as source alone: no request
waits for it, and the file stays small."""

PACKED = frozenset({".py", ".html", ".js", ".css", ".svg"})
VERSION_FILE = "hub_upgrade/version.py"
VERSION_LINE = re.compile(rb'^VERSION = "([^"]*)"$', re.MULTILINE)
DOOR = b"""from hub_upgrade.packed import install

install(__loader__)

from hub_upgrade.__main__ import run

run()
"""
LOOSE = ("__main__.py", "hub_upgrade/__init__.py", "hub_upgrade/packed.py")
"""What is imported before the packed code can be found: compiled as .pyc (PEP 552) beside it."""
GROUPS = (
    (FIRST, "hub_upgrade.__main__"),
    (FIRST, "hub_upgrade.cli.version"),
    ("serve", "hub_upgrade.launcher.serve"),
    ("run", "hub_upgrade.wiring.hub"),
)
OTHERS = "more"
"""The packed code in groups: what each imports that none before it does, and the rest."""

# Marshalled code depends on the hash seed (the order of sets) and on which strings the
# interpreter shares already (what was compiled before). So: a fixed seed (which -I would ignore),
# no site, and one fork of one and the same process for every file. What only a reader wants
# stays in the source beside it: docstrings, annotations, columns. That is a third.
COMPILER_COMMAND = (sys.executable, "-s", "-S", "-X", "no_debug_ranges", "-c")
COMPILER = """
import ast, json, marshal, os, sys

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

def lean(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.copy_location(ast.Constant(0), node.annotation)
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first = node.body.pop(0)
            if not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.copy_location(ast.Pass(), first))
    return tree

def compiled(name, source):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "wb") as out:
            # Not a name that may lie in the current directory: a traceback would quote that file.
            name = "hub.pyz/" + name
            tree = lean(ast.parse(source, name))
            out.write(marshal.dumps(compile(tree, name, "exec", dont_inherit=True)))
            out.flush()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    return data if os.waitpid(pid, 0)[1] == 0 else b""

sources = json.load(sys.stdin)
sys.stdout.write(json.dumps({name: compiled(name, sources[name]).hex() for name in sources}))
"""

_compiled: dict[tuple[str, bytes], bytes] = {}


class BuildError(Exception):
    """A build that cannot be; its text is one sentence."""


def sources(root: Path = ROOT) -> dict[str, bytes]:
    """Every member of the archive that is not compiled, by its name in there."""
    members = {"__main__.py": DOOR, "LICENSE": (root / "LICENSE").read_bytes()}
    for path in (root / "hub_upgrade").rglob("*"):
        if path.suffix in PACKED and path.is_file() and not path.name.startswith("."):
            data = path.read_bytes()
            lean = without_prose(data) if path.suffix == ".py" else without_margin(data)
            members[path.relative_to(root).as_posix()] = lean
    return members


def without_margin(source: bytes) -> bytes:
    """The page's files line for line without indentation, and without lines that are a comment;
    they have no text of several lines in which a space would count."""
    lines = (line.strip() for line in source.split(b"\n"))
    return b"\n".join(b"" if line.startswith(b"//") else line for line in lines)


def without_prose(source: bytes) -> bytes:
    """The same code on the same lines without comments, docstrings and most of its indentation.

    What is no Python that this interpreter can parse comes back as it is.
    """
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return source
    lines = source.decode("utf-8").splitlines()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            found = getattr(node, name, None)
            body: list[ast.stmt] = found if isinstance(found, list) else []
            for statement in filter(_is_prose, body):
                _blank(lines, statement, alone=len(body) == 1 and node is not tree)
    for row in set(range(1, len(lines) + 1)) - _inside_texts(tokens):
        bare = lines[row - 1].lstrip(" ")
        lines[row - 1] = " " * ((len(lines[row - 1]) - len(bare)) // 4) + bare
    return "\n".join(lines).encode("utf-8") + b"\n"


def _inside_texts(tokens: Iterable[tokenize.TokenInfo]) -> set[int]:
    """The lines that begin inside a text of several lines; from 3.12 on an f-string is tokens."""
    rows: set[int] = set()
    begins: list[int] = []
    for token in tokens:
        kind = tokenize.tok_name[token.type]
        if kind == "STRING":
            rows.update(range(token.start[0] + 1, token.end[0] + 1))
        elif kind == "FSTRING_START":
            begins.append(token.start[0])
        elif kind == "FSTRING_END":
            rows.update(range(begins.pop() + 1, token.end[0] + 1))
    return rows


def _is_prose(node: ast.AST) -> bool:
    """Whether this statement is but a text: a docstring, or one below a constant."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _blank(lines: list[str], node: ast.stmt, alone: bool) -> None:
    last = node.end_lineno or node.lineno
    indent = lines[node.lineno - 1][: node.col_offset]
    lines[node.lineno - 1 : last] = [""] * (last - node.lineno + 1)
    if alone:
        lines[node.lineno - 1] = indent + "pass"


def with_version(text: bytes, version: str) -> bytes:
    """The text of version.py for another version; raises BuildError."""
    if not is_version(version):
        raise BuildError(f"{version[:100]!r} is not a semantic version such as 1.2.3 or 1.2.3-rc.1")
    line = f'VERSION = "{normal(version)}"'.encode()
    changed, count = VERSION_LINE.subn(line, text)
    if count != 1:
        raise BuildError(f'{VERSION_FILE} has {count} lines VERSION = "..." and needs just one')
    return changed


def pyc(code: bytes, source: bytes) -> bytes:
    """A hash-based, unchecked .pyc (PEP 552): nobody compares it with the source at run time."""
    return importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source) + code


def _is_hot(name: str) -> bool:
    return name.endswith(".py") and (name in HOT or not name.startswith(COLD))


def compile_all(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The code of every source that this Python can compile, by name; each compiled only once."""
    wanted = {(name, data) for name, data in members.items() if _is_hot(name)}
    new = {name: data.decode("utf-8", "replace") for name, data in sorted(wanted - set(_compiled))}
    if new:
        done = subprocess.run(
            [*COMPILER_COMMAND, COMPILER],
            input=json.dumps(new),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",  # with -c the current directory comes first on sys.path
            env={"PYTHONHASHSEED": "0"},
            timeout=COMPILE_LIMIT_S,
            check=True,
        )
        for name, code in json.loads(done.stdout).items():
            _compiled[name, members[name]] = bytes.fromhex(code)
    return {name: _compiled[name, data] for name, data in wanted if _compiled[name, data]}


def packed(members: Mapping[str, bytes], codes: Mapping[str, bytes]) -> dict[str, bytes]:
    """The members of the archive that hold compiled code (`hub_upgrade/packed.py` reads them)."""
    made = {name + "c": pyc(codes[name], members[name]) for name in LOOSE if name in codes}
    modules = {_module(name): name for name in codes if name not in LOOSE}
    groups: dict[str, str] = {}
    for group, entry in GROUPS:
        for name in _imported(entry, modules, members):
            groups.setdefault(name, group)
    groups = {name: groups.get(name, OTHERS) for name in sorted(modules)}
    for group in dict.fromkeys((*(name for name, _entry in GROUPS), OTHERS)):
        values: dict[str, object] = {"": groups} if group == FIRST else {}
        for name, path in sorted(modules.items()):
            if groups[name] == group:
                values[name] = (path.endswith("/__init__.py"), codes[path])
        made[f"hub_upgrade/{group}.code"] = importlib.util.MAGIC_NUMBER + marshal.dumps(values, 2)
    return made


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imported(
    entry: str, modules: Mapping[str, str], members: Mapping[str, bytes]
) -> Iterable[str]:
    """The modules, of these, that importing `entry` imports, itself included."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in found or name not in modules:
            continue
        found.add(name)
        waiting.append(name.rpartition(".")[0])
        for node in ast.walk(ast.parse(members[modules[name]])):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
    return sorted(found)


def archive(members: Mapping[str, bytes]) -> bytes:
    """The bytes of the file: a line for the shell, and a zip of sorted entries of one date."""
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "w") as file:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, members[name], compresslevel=9)
    return buffer.getvalue()


def build(
    output: str | os.PathLike[str],
    version: str | None = None,
    source_only: bool = False,
    overlay: Mapping[str, bytes | None] | None = None,
) -> str:
    """Write a release to `output`, atomically, and return its SHA-256; raises BuildError, OSError.

    `overlay` replaces or adds members by name, None takes one away: that is how tests make
    releases that misbehave. What of it does not compile goes in as source alone.
    """
    members = sources()
    if version is not None:
        members[VERSION_FILE] = with_version(members[VERSION_FILE], version)
    own = set(members) - set(overlay or ())
    for name, data in (overlay or {}).items():
        members.pop(name, None)
        if data is not None:
            members[name] = data
    if not source_only:
        compiled = compile_all(members)
        sound = {name for name in own if name in compiled}
        broken = sorted(name for name in own - sound if _is_hot(name))
        if broken:
            raise BuildError(f"{broken[0]} does not compile")
        members = {**packed(members, compiled), **members}
    data = archive(members)
    target = Path(output).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_durably(str(target), data, 0o755)
    return files.sha256(data)


def arguments(argv: list[str]) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="build_pyz.py", description="Build hub.pyz.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"where to ({OUTPUT})")
    parser.add_argument("--version", help="another version than version.py says")
    parser.add_argument("--source-only", action="store_true", help="leave the compiled code out")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Build, and print where to, how large, and the SHA-256; 0, 1 (failed) or 2 (wrong usage)."""
    asked = arguments(argv)
    if asked.version is not None and not is_version(asked.version):
        print(f"build_pyz.py: {asked.version[:100]!r} is not a semantic version", file=sys.stderr)
        return 2
    try:
        digest = build(asked.output, asked.version, asked.source_only)
        size = asked.output.stat().st_size
    except (BuildError, OSError, subprocess.SubprocessError) as error:
        print(f"build_pyz.py: {error}", file=sys.stderr)
        return 1
    print(f"{digest}  {asked.output}  ({size:,} bytes)")
    limit = MOST_SOURCE_BYTES if asked.source_only else MOST_BYTES
    if size > limit:
        print(f"build_pyz.py: that is more than the limit of {limit:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Build one reproducible `hub.pyz`: `python3 build_pyz.py [--output FILE] [--version X]`.

The archive holds the source, what only a reader wants (comments, docstrings, annotations) left out
line for line so that tracebacks still point to the right place, and a level of indentation one
space. It is packed together, in groups; to read it: `unzip -p hub.pyz 'hub_upgrade/*.source'`.
Beside it lies the code of what must start fast, compiled by the interpreter that builds
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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hub_upgrade.domain.versions import is_version, normal
from hub_upgrade.host import files
from hub_upgrade.packed import CODE, FIRST, GROUPS, HEADING, PACKAGE, REST, SOURCE

ROOT = Path(__file__).resolve().parent
OUTPUT = Path("dist") / "hub.pyz"
SHEBANG = b"#!/usr/bin/env python3\n"
MOST_BYTES = 370_000
MOST_SOURCE_BYTES = 190_000
COMPILE_LIMIT_S = 120.0
DATE = (1980, 1, 1, 0, 0, 0)
"""The oldest date that a zip can hold: a real one would make every build differ."""

PACKED = frozenset({".py", ".html", ".js", ".css", ".svg"})
VERSION_FILE = "hub_upgrade/version.py"
VERSION_LINE = re.compile(rb'^VERSION = "([^"]*)"$', re.MULTILINE)
DOOR = b"""from hub_upgrade.packed import install

install(__loader__)

from hub_upgrade.__main__ import run

run()
"""
LOOSE = ("__main__.py", "hub_upgrade/__init__.py", "hub_upgrade/packed.py")
"""What is imported before the groups can be found: as it is, and as .pyc (PEP 552) beside it."""
ENTRIES = (
    (FIRST, "hub_upgrade.__main__"),
    (FIRST, "hub_upgrade.cli.version"),
    ("helper", "hub_upgrade.cli.helper"),
    ("serve", "hub_upgrade.launcher.serve"),
    ("run", "hub_upgrade.wiring.hub"),
)
"""Each group is what its entries import that none before it does. What none of them imports, for
only a person at a terminal or a helper waits for it, is left to REST: source alone, so that the
file stays small."""

# Marshalled code depends on the hash seed (the order of sets) and on which strings the
# interpreter shares already (what was compiled before). So: a fixed seed (which -I would ignore),
# no site, and one fork of one and the same process for every file. Columns are left out.
COMPILER_COMMAND = (sys.executable, "-s", "-S", "-X", "no_debug_ranges", "-c")
COMPILER = """
import json, marshal, os, sys

def compiled(name, source):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "wb") as out:
            # Not a name that may lie in the current directory: a traceback would quote that file.
            name = "hub.pyz/" + name
            out.write(marshal.dumps(compile(source, name, "exec", dont_inherit=True)))
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
_lean: dict[bytes, bytes] = {}


class BuildError(Exception):
    """A build that cannot be; its text is one sentence."""


def sources(root: Path = ROOT) -> dict[str, bytes]:
    """Everything that is packed, by the name that it would have in there by itself."""
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
    """What `_without_prose` makes of it; of each source only once."""
    if source not in _lean:
        _lean[source] = _without_prose(source)
    return _lean[source]


def _without_prose(source: bytes) -> bytes:
    """The same code on the same lines without comments, docstrings, annotations and most of its
    indentation.

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
    for row, start, end, instead in sorted(_annotations(tree, lines), reverse=True):
        line = lines[row - 1].encode()  # the tree counts bytes
        lines[row - 1] = (line[:start] + instead + line[end:]).decode()
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


def _annotations(tree: ast.AST, lines: list[str]) -> Iterator[tuple[int, int, int, bytes]]:
    """Every annotation on one line: its row, where it starts and ends there, and what will do.

    A variable keeps one: it is how a NamedTuple knows its fields.
    """
    for node in ast.walk(tree):
        note = getattr(node, "returns", None) or getattr(node, "annotation", None)
        if note is None or note.lineno != note.end_lineno:
            continue
        before = lines[note.lineno - 1].encode()[: note.col_offset]
        if isinstance(node, ast.AnnAssign):
            yield note.lineno, note.col_offset, note.end_col_offset, b"0"
        else:
            head, mark, _ = before.rpartition(b":" if isinstance(node, ast.arg) else b"->")
            if mark:
                yield note.lineno, len(head.rstrip()), note.end_col_offset, b""


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


def groups(members: Mapping[str, bytes]) -> dict[str, str]:
    """The group of every module that is packed, by its name among the members."""
    paths = {_module(path): path for path in sorted(members) if path.endswith(".py")}
    found: dict[str, str] = {}
    for group, entry in ENTRIES:
        for module in _imported(entry, paths, members):
            found.setdefault(paths[module], group)
    return {path: found.get(path, REST) for path in paths.values() if path not in LOOSE}


def compile_all(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The code of every source that this Python can compile, by name; each compiled only once."""
    wanted = set(members.items())
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


def packed(
    members: Mapping[str, bytes], grouped: Mapping[str, str], codes: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The members of the archive, the modules in their groups (`hub_upgrade/packed.py` reads
    them)."""
    made = {name: data for name, data in members.items() if name not in grouped}
    made.update({name + "c": pyc(codes[name], members[name]) for name in LOOSE if name in codes})
    for group in GROUPS:
        paths = sorted(path for path in grouped if grouped[path] == group)
        strange = [path for path in paths if HEADING in members[path]]
        if strange:
            raise BuildError(f"{strange[0]} holds a line like those between the packed files")
        parts = (HEADING + path.encode() + b"\n" + members[path] for path in paths)
        made[f"{PACKAGE}/{group}{SOURCE}"] = b"".join(parts)
        values: dict[str, object] = {
            _module(path): (path.endswith("/__init__.py"), codes[path])
            for path in paths
            if path in codes
        }
        if group == FIRST and codes:
            values[""] = {_module(path): grouped[path] for path in sorted(grouped)}
        if values:
            code = importlib.util.MAGIC_NUMBER + marshal.dumps(values, 2)
            made[f"{PACKAGE}/{group}{CODE}"] = code
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
        try:
            tree = ast.parse(members[modules[name]])
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
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
    grouped = groups(members)
    codes: dict[str, bytes] = {}
    if not source_only:
        hot = {*LOOSE, *(name for name, group in grouped.items() if group != REST)} & set(members)
        codes = compile_all({name: members[name] for name in hot})
        broken = sorted((hot & own) - set(codes))
        if broken:
            raise BuildError(f"{broken[0]} does not compile")
    members = packed(members, grouped, codes)
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

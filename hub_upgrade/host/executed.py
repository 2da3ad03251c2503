"""What a process is executed from, by its arguments: executed_from(). Never raises."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hub_upgrade.host.environments import prefix_of, sites
from hub_upgrade.shapes import NamedTuple

PYTHON = frozenset({"python", "pypy"})
SCRIPTS = frozenset({"bun", "bunx", "node", "nodejs", "deno"})
OTHERS = frozenset(
    {"ruby", "perl", "php", "java", "dotnet", "lua", "sh", "bash", "dash", "ash", "ksh", "zsh",
     "busybox"}
)  # fmt: skip
CODE = frozenset({"-e", "--eval", "-p", "--print", "-pe", "eval"})
CODE_OF_OTHERS = frozenset({"-e", "-c"})
"""What follows is no file: a program's text."""
VERBS = frozenset({"run", "x", "task", "start", "serve", "exec", "watch", "dev", "test", "sh"})
VALUED = frozenset(
    {"-r", "--require", "--import", "--preload", "--loader", "--experimental-loader", "--env-file",
     "--env-file-if-exists", "-c", "--config", "--tsconfig-override", "--import-map", "--lock",
     "--cert", "--cwd", "--title", "--conditions", "-C", "--icu-data-dir", "--openssl-config",
     "--define", "-d", "-l", "--port", "--hostname", "-I", "-cp", "-classpath", "--class-path",
     "-S", "-t"}
)  # fmt: skip
"""Options whose value is the next argument."""
ENDINGS = ("", ".ts", ".tsx", ".js", ".mjs", ".cjs", ".jsx", ".mts", "/index.ts", "/index.js")
MOST_LINKS = 40


class HubProcess(NamedTuple):
    """A process as it was seen. "" is what is not to be known; `exe` is the real path.

    `foreign` says that its paths are not ours: another root, such as that of a container seen from
    outside, or one that is not to be seen, such as another user's.
    """

    pid: int
    start_time: str
    argv: tuple[str, ...]
    cwd: str
    exe: str
    bun_install: str = ""
    foreign: bool = False


def executed_from(process: HubProcess) -> tuple[str, ...]:
    """What a process is executed from, the best guess first: absolute paths, links unresolved."""
    if process.foreign or not process.argv or not process.argv[0]:
        return ()
    program, words = _program(process), process.argv[1:]
    name = os.path.basename(process.exe or program).removesuffix(".exe")  # as npm installs bun
    name = name.rstrip("0123456789.-")
    if name in PYTHON:
        found = _by_python(process, program, words)
    elif name in SCRIPTS:
        found = [_script(process, words, CODE)]
    elif name in OTHERS:
        found = [_script(process, words, CODE_OF_OTHERS)]
    else:
        files = (_file(process.cwd, word) for word in words if not word.startswith("-"))
        found = [program, next((path for path in files if path), "")]
    return tuple(path for path in found if path)


def trail(path: str) -> list[str]:
    """An absolute path, and what each link on its way makes of it; the last one is the real one."""
    found, done, left = [path], "/", path.split("/")[::-1]
    while left:
        name = left.pop()
        here = os.path.dirname(done) if name == ".." else os.path.join(done, name)
        if name in ("", "."):
            continue
        try:
            target = os.readlink(here) if name != ".." else ""
        except OSError:
            target = ""
        if target and len(found) < MOST_LINKS:
            left += target.split("/")[::-1]
            done = "/" if target.startswith("/") else done
            found.append(os.path.join(done, *left[::-1]))
        else:
            done = here
    return [*found, done] if done != found[-1] else found


def _program(process: HubProcess) -> str:
    """The executable as it was named, where that leads to it: a virtual environment's Python is a
    link to another."""
    named = _absolute(process.cwd, process.argv[0]) if "/" in process.argv[0] else ""
    gone = not os.path.exists(process.exe)  # replaced meanwhile, or not to be seen
    if named and (gone or os.path.realpath(named) == process.exe):
        return named
    return process.exe


def _script(process: HubProcess, words: Sequence[str], code: frozenset[str]) -> str:
    """The first argument that is not the interpreter's own; where only a verb is there, the
    directory that says what that means (`bun run NAME`)."""
    verb = process.argv[0].startswith(("npm ", "yarn ", "pnpm "))
    rest = iter(words)
    for word in rest:
        if word in code:
            return ""
        if word in VALUED:
            next(rest, None)
        elif not word.startswith("-"):
            path = _file(process.cwd, word)
            if path or verb or word not in VERBS:
                return path or (process.cwd if verb else "")
            verb = True
    return process.cwd if verb else ""


def _by_python(process: HubProcess, program: str, words: Sequence[str]) -> list[str]:
    isolated = False
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            path = _file(process.cwd, word)
            return [path, program] if path else []
        if word.startswith("--"):
            continue
        for at, flag in enumerate(word[1:], 2):
            isolated |= flag in "IP"
            if flag in "cmWX":
                value = word[at:] or next(rest, "")
                if flag == "c":
                    return []
                if flag == "m":
                    bases = [] if isolated else [process.cwd]
                    return [_module([*bases, *sites(prefix_of(program))], value), program]
                break
    return []


def _module(bases: Sequence[str], name: str) -> str:
    """The file that `python -m NAME` runs."""
    for base in bases:
        path = os.path.join(base, *name.split("."))
        for file in (f"{path}/__main__.py", f"{path}.py"):
            if base and os.path.isfile(file):
                return file
    return ""


def _file(cwd: str, word: str) -> str:
    """The file that an argument names, or a directory by its path; "" for none."""
    path = _absolute(cwd, word)
    if path and (word in (".", "..") or "/" in word) and os.path.isdir(path):
        return path
    return next((path + end for end in ENDINGS if path and os.path.isfile(path + end)), "")


def _absolute(cwd: str, word: str) -> str:
    path = os.path.join(cwd, word)
    if not path.startswith("/"):
        return ""
    return path if ".." in path.split("/") else os.path.normpath(path)

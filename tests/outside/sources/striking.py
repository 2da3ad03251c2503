"""A tool that is watched at each of its renames, and struck at one of them: it, or its helper.

Run in the tool's place it becomes strace with the tool under it, which holds each rename for a
moment, while a copy of us looks on. The threads and calls of one upgrade count as one.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import select
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

RENAMES = "rename,renameat,renameat2"
HOLD = "250ms"
RENAME = re.compile(rb"^(\d+) +rename\w*\(", re.MULTILINE)
POLL_S = 0.005
TOOL, HELPER, BOTH = "tool", "helper", "both"
READING = "rev-parse|config|symbolic-ref|status|rev-list|diff-tree|for-each-ref|merge-base|view|pm"
"""What the tools rename nothing for, or nothing that is installed."""
SCRIPT = """\
#!/bin/sh
for word; do case $word in {reading}) exec {real} "$@";; esac; done
exec {striking} {real} "$@"
"""
PIP = """\
import os, sys
if "install" in sys.argv and "--dry-run" not in sys.argv and "STRUCK" not in os.environ:
    os.environ["STRUCK"] = "here"
    os.execv(sys.executable, [{striking}, sys.executable, "-m", "pip", *sys.argv[1:]])
"""


class Strikes:
    """What lies in `directory` steers it, and tells what became of it."""

    def __init__(self, directory: Path, path: str, pip: Path | None = None) -> None:
        self._directory = directory
        directory.mkdir()
        striking = [sys.executable, "-I", "-S", __file__, str(directory)]
        tools = directory / "tools"
        tools.mkdir()
        for tool in ("bun", "npm", "git"):
            words = {"reading": READING, "real": shutil.which(tool, path=path)}
            text = SCRIPT.format(striking=shlex.join(striking), **words)
            (tools / tool).write_text(text)
            (tools / tool).chmod(0o755)
        if pip is not None:
            words = {"striking": ", ".join(map(repr, striking))}
            pip.write_text(PIP.format(**words) + pip.read_text())
        self.path = f"{tools}:{path}"

    def arm(self, whom: str, number: int = 0, gone: str = "") -> None:
        """Strike at the n-th rename from now, or when nothing matches `gone` any more."""
        for name in ("struck.json", "seen"):
            (self._directory / name).unlink(missing_ok=True)
        told = {"whom": whom, "number": number, "gone": gone}
        (self._directory / "armed.json").write_text(json.dumps(told))

    def struck(self) -> dict[str, Any]:
        """Who was struck; {} for nobody."""
        path = self._directory / "struck.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def seen(self) -> str:
        """The renames, and who of the tool's was killed, in strace's words."""
        path = self._directory / "seen"
        return path.read_text(errors="replace") if path.exists() else ""


def main(directory: str, *argv: str) -> None:
    """Become the tool, under strace if it is to be struck still."""
    armed, struck = (os.path.join(directory, name) for name in ("armed.json", "struck.json"))
    if not os.path.exists(armed) or os.path.exists(struck):
        os.execv(argv[0], argv)
    with open(armed, encoding="utf-8") as file:
        told = json.load(file)
    helper, fifo = os.getppid(), os.path.join(directory, f"fifo-{os.getpid()}")
    os.mkfifo(fifo)
    between = os.fork()
    if between == 0:
        os.setsid()  # whoever ends the tool's group does not end us
        if os.fork():
            os._exit(0)  # strace waits for each child it has
        with contextlib.suppress(OSError):
            os.nice(-15)  # on a busy machine the tool would go on before we look
        silence = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(silence, number)
        look_on(directory, fifo, told, helper)
        os._exit(0)
    os.waitpid(between, 0)
    after = f":delay_exit={HOLD}" if told["gone"] else ""
    inject = f"inject={RENAMES}:delay_enter={HOLD}{after}"
    words = ["-f", "-q", "--seccomp-bpf", "-o", fifo, "-e", f"trace={RENAMES}", "-e", "signal=none"]
    os.execvp("strace", ["strace", *words, "-e", inject, *argv])


def look_on(directory: str, fifo: str, told: dict[str, Any], helper: int) -> None:
    """Read what strace writes to its end, and strike."""
    path = os.path.join(directory, "seen")
    with open(fifo, "rb", buffering=0) as source, open(path, "a+b", buffering=0) as seen:
        os.unlink(fifo)
        seen.seek(0)
        text, over = seen.read(), False
        while True:
            if select.select([source], [], [], POLL_S)[0]:
                piece = source.read(65536)
                if not piece:
                    return
                seen.write(piece)
                text += piece
            renames = RENAME.findall(text)
            gone = told["gone"] and not glob.glob(told["gone"])
            if renames and not over and (gone or 0 < told["number"] <= len(renames)):
                over = True
                strike(directory, told["whom"], int(renames[-1]), helper)


def strike(directory: str, whom: str, tool: int, helper: int) -> None:
    """Tell whom, then do it."""
    with open(f"/proc/{helper}/cmdline", encoding="utf-8") as file:
        command = file.read().split("\0")
    path = os.path.join(directory, "struck.json")
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump({"tool": tool, "helper": helper, "command": command}, file)
    os.rename(f"{path}.new", path)
    for pid in {TOOL: (tool,), HELPER: (helper,), BOTH: (helper, tool)}[whom]:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])

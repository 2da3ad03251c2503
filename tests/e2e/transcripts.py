"""Transcripts: what each command prints, kept as files, and compared with what it prints now.

`TRANSCRIPTS=write` writes them again. What differs from run to run (identifiers, times, ports,
paths) is replaced by its name in angle brackets.
"""

from __future__ import annotations

import difflib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.harness import WAIT_S, RealCase, build, environment

DIRECTORY = Path(__file__).resolve().parent.parent / "transcripts"
STEPS = ("resolving", "staging", "verifying", "preflight", "handing-over", "proving")
TOLD = re.compile(rf"(?:{'|'.join(STEPS)}): |  ")
FOLLOWS = re.compile(r"\$ .*hub\.pyz (?:upgrade|rollback|status --watch)\b")

PATTERNS = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b", "<id>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"(?<=\d-)[0-9a-f]{16}\b", "<digest>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "YYYY-MM-DDTHH:MM:SS.mmmZ"),
    (r"hub_[\w-]{43}", "hub_<secret>"),
    (r"#code=[\w-]{43}", "#code=<code>"),
    (r"\b[0-9a-f]{12}\b", "<12 digits>"),
    (r"\bprocess \d+(?: and \d+)?", "process <pid>"),
    (r'("(?:pid|helper_pid|hub_pid)": )\d+', r"\1<pid>"),
    (r'("helper_start_time": )"\d+"', r'\1"<start time>"'),
    (r"(127\.0\.0\.1:|\[::1\]:|(?<=on 127\.0\.0\.1 port ))[1-9]\d{3,4}\b", r"\1<port>"),
    (r"(?<=link:)([\w.-]+)-[0-9a-f]{6}\b", r"\1-<random>"),
    (r"\.corrupt-[0-9a-f]{8}", ".corrupt-<random>"),
    (r"in flight \((?:pending|running|restarting)\)", "in flight (<phase>)"),
    (r"<id>: (?:pending|running|restarting) \([a-z-]+\)(?=.* from 127)", "<id>: <phase> (<step>)"),
    (r'(Python |"python": ")3\.\d+\.\d+', r"\1<version>"),
    (r'"evidence": \[[^]]*\]', '"evidence": [<evidence>]'),
    (r"(?m)(^mode: .*\n)(?:  .*\n)+", r"\1  <evidence>\n"),
    (r"(?m)^\w+ +storage: .*/elsewhere/.*\n(?: +-> .*\n)?", "<the machine's own storage>\n"),
    (r"(<the machine's own storage>\n(?:.*\n)*problems: 0, warnings: )\d+", r"\1<number>"),
    (r"(upgrades (?:are done in place|need a redeploy) )\(.*\)", r"\1(<evidence>)"),
)


def canonical(text: str) -> list[str]:
    """The lines, but of a followed operation steps before lines of its log: which of them is seen
    first depends on the moment at which somebody looks."""
    done: list[str] = []
    block: list[str] = []
    following = False
    for line in text.splitlines():
        if line.startswith("$ "):
            following = FOLLOWS.match(line) is not None
        if following and TOLD.match(line):
            block.append(line)
            continue
        done += sorted(block, key=lambda told: told.startswith("  "))
        block = []
        done.append(line)
    return done + block


class TranscriptCase(RealCase):
    """A home, a repository, a `hub.pyz`, and what is typed and printed."""

    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        self.program = os.path.join(self.directory, "hub.pyz")
        shutil.copyfile(self.old, self.program)
        self.env = {"PARACHUTE_HOME": self.home, "HOME": self.directory, "TERM": "dumb"}
        user = pwd.getpwuid(os.geteuid()).pw_name
        self.words = [
            (self.home, "/home/hub/.parachute"), (self.repository, "/srv/releases"),
            (self.directory, "/home/hub"),
            (sys.executable, "/usr/bin/python3"), (f"local:{user}", "local:<user>"),
            (f"link:{user}", "link:<user>"), (f"of {user}", "of <user>"),
        ]  # fmt: skip

    def normal(self, text: str) -> str:
        """The text without what differs from run to run."""
        for word, name in self.words:
            text = text.replace(word, name)
        for pattern, name in PATTERNS:
            text = re.sub(pattern, name, text)
        return text

    def run_it(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        until: str | None = None,
        on_stderr: bool = False,
    ) -> tuple[int, str, str]:
        """Run one command in the case's directory; with Ctrl-C once it prints a line with
        `until` in it."""
        process = subprocess.Popen(
            [sys.executable, self.program, *argv], cwd=self.directory,
            env=environment(**{**self.env, **env}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        alarm = threading.Timer(WAIT_S, process.kill)
        alarm.start()
        told = ""
        watched = process.stderr if on_stderr else process.stdout
        try:
            while until is not None and (line := watched.readline()):
                told += line
                if until in line:
                    process.send_signal(signal.SIGINT)
                    break
            out, err = process.stdout.read(), process.stderr.read()
            return process.wait(), ("" if on_stderr else told) + out, told * on_stderr + err
        finally:
            alarm.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()

    def type(
        self, *argv: str, until: str | None = None, on_stderr: bool = False, **env: str
    ) -> tuple[int, str, str]:
        """Run a command and write down what was typed, printed (stderr marked `!`) and returned."""
        end = self.run_it(argv, env, until, on_stderr)
        return self.note(argv, env, end, until is not None)

    def note(
        self, argv: Sequence[str], env: Mapping[str, str], end: tuple[int, str, str],
        interrupted: bool = False,
    ) -> tuple[int, str, str]:  # fmt: skip
        """Write down a command that has ended."""
        code, out, err = end
        typed = [*(f"{name}={value}" for name, value in env.items()), "hub.pyz", *argv]
        lines = [f"$ {' '.join(shlex.quote(word) for word in typed)}", *out.splitlines()]
        if interrupted:
            lines.append("^C")
        lines += [f"! {line}" for line in err.splitlines()]
        self.lines += [*lines, f"exit {code}", ""]
        return end

    def keep(self, name: str) -> None:
        """What was typed since the last one is the transcript of that name."""
        text, self.lines = self.normal("\n".join(self.lines)).rstrip() + "\n", []
        path = DIRECTORY / f"{name}.txt"
        if os.environ.get("TRANSCRIPTS") == "write":
            DIRECTORY.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if canonical(before) != canonical(text):
            diff = difflib.unified_diff(
                before.splitlines(), text.splitlines(), f"tests/transcripts/{name}.txt", "now", "",
                "", 3, "",
            )  # fmt: skip
            self.fail("\n".join(["(TRANSCRIPTS=write writes it again)", *diff]))

    def keeps(self, name: str, *argv: str, expected: int = 0, **env: str) -> str:
        """One command alone as a transcript; returns its stdout."""
        code, out, err = self.note(argv, env, self.run_it(argv, env))
        self.assertEqual(expected, code, out + err)
        self.keep(name)
        return out

    def publish_version(self, version: str, channel: str = "latest") -> None:
        self.publish(build(version), channel)

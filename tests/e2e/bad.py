"""Releases that misbehave, each in one way: real files of the real code, with one thing spoilt.

A release is bad either as built, everywhere, or only in the real home: what tells the two apart is
`releases/boot.json`, which the scratch home of the preflight does not have.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Callable, NamedTuple

from build_pyz import ROOT, VERSION_FILE, with_version
from hub_upgrade import repository
from tests.e2e import harness

VERSION = "1.1.0"
LATE_S = 0.8
"""So much of its probation a release lives that dies late."""
HUB = "hub_upgrade/wiring/hub.py"
DOOR = "hub_upgrade/__main__.py"
PACKAGE = "hub_upgrade/__init__.py"
NOT_PYTHON = b"def broken(:\n"
EVERYWHERE = "True"
REAL_HOME = 'os.path.lexists(os.environ.get("PARACHUTE_HOME", "") + "/releases/boot.json")'

# What spoils a release comes after its own code: in reach is all that a hub is put together of.
SPOILT = '''

import socket
import time
from hub_upgrade.host import notify
from hub_upgrade.web.messages import error_response

_good_build, _good_dispatch = build, dispatch


def later(seconds, act):
    """Do something to the hub so many seconds after it was put together."""
    global build

    def build(loop, settings, inherited, program):
        hub = _good_build(loop, settings, inherited, program)
        loop.call_later(seconds(settings) if callable(seconds) else seconds, lambda: act(hub))
        return hub


def broken_dispatch(table, request, app):
    return error_response(500, "internal_error", "bad on purpose")


def send(address, data):
    """One datagram, whatever is in it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(data, address.replace("@", "\\0", 1))
        except OSError:
            pass


if {condition}:
    print("bad on purpose: {name}", file=sys.stderr, flush=True)
{code}
'''


_building = threading.Lock()


def build(version: str, overlay: Mapping[str, bytes] | None = None) -> str:
    """`harness.build` for one thread at a time."""
    with _building:
        return harness.build(version, overlay)


def source_of(member: str) -> bytes:
    """A member of the archive as it is."""
    return Path(ROOT, member).read_bytes()


def spoilt(name: str, code: str, condition: str) -> bytes:
    """The wiring of the hub with `code` after it."""
    indented = "\n".join("    " + line for line in code.strip("\n").splitlines())
    text = SPOILT.replace("{condition}", condition).replace("{name}", name)
    return source_of(HUB) + text.replace("{code}", indented).encode()


class Bad(NamedTuple):
    """One way to be bad.

    `code` runs in the wiring of the hub, `members` replace others. `refused` is in the error when
    the preflight finds it, `taken_back` when only the trial does; an empty one means that there is
    no such case, and `why_not` says why. `words` are the last that it prints; `slow` says that a
    time limit of the preflight has to run out.
    """

    name: str
    code: str = "pass"
    refused: str = ""
    taken_back: str = ""
    members: Mapping[str, bytes] = {}
    words: str = ""
    config: Mapping[str, object] = {}
    slow: bool = False
    why_not: str = ""

    def build(self, condition: str) -> str:
        """The file; `condition` is EVERYWHERE or REAL_HOME."""
        overlay = {HUB: spoilt(self.name, self.code, condition), **self.members}
        return build(VERSION, overlay)

    @property
    def last_words(self) -> str:
        return self.words or f"bad on purpose: {self.name}"


def versioned(**constants: str) -> bytes:
    """version.py of VERSION with other constants."""
    text = with_version(source_of(VERSION_FILE), VERSION).decode()
    for name, value in constants.items():
        lines = [
            f"{name} = {value}" if line.startswith(f"{name} = ") else line
            for line in text.splitlines()
        ]
        text = "\n".join(lines) + "\n"
    return text.encode()


DIES_SOON = "it exited with status 4"
NONSENSE = """
JUNK = (b"", b"\\0\\xff\\xfe", b"READY", b"READY=0", b"READY=11", b"=1", b"x" * 5000, b"\\n" * 900,
        b"ERRNO=minus one", b"ERRNO=" + b"9" * 3000, b"RELOADING=yes", b"STATUS=\\xc3\\x28", b"A=B")
Hub._say = lambda self, text: [send(self._inherited.notify_address, junk) for junk in JUNK]
"""
FLOOD = """
dispatch = broken_dispatch
def flood(hub):
    parent = os.getpid()
    for _ in range(3):
        if os.fork() == 0:
            while os.getppid() == parent:
                for _ in range(1000):
                    send(hub._inherited.notify_address, b"A=B")
            os._exit(0)
    for _ in range(100):
        send(hub._inherited.notify_address, b"A=B")
later(0, flood)
"""

WAYS = (
    Bad(
        "a syntax error in the hub",
        "import hub_upgrade.broken",
        members={"hub_upgrade/broken.py": NOT_PYTHON},
        refused="before it was ready",
        taken_back="it exited with status 1 before it was ready",
        words="SyntaxError: invalid syntax",
    ),
    Bad(
        "a syntax error in the door",
        members={DOOR: NOT_PYTHON},
        refused="it does not start: SyntaxError",
        why_not="its bytes are the same in every home; the row above has one that is not run there",
    ),
    Bad(
        "an import error",
        "import no_such_module",
        refused="before it was ready",
        taken_back="it exited with status 1 before it was ready",
        words="no_such_module",
    ),
    Bad(
        "another Python",
        'sys.exit("hub.pyz needs Python 99.0 or newer")',
        refused="needs Python 99.0",
        taken_back="it exited with status 1 before it was ready",
        words="hub.pyz needs Python 99.0 or newer",
    ),
    Bad(
        "another Python for every command",
        members={PACKAGE: b'import sys\n\nsys.exit("hub.pyz needs Python 99.0 or newer")\n'},
        refused="it does not start: hub.pyz needs Python 99.0",
        why_not="the same as above: what `version` refuses is never started",
    ),
    Bad(
        "a newer launcher needed",
        members={VERSION_FILE: versioned(NEEDS_LAUNCHER_PROTOCOL="2")},
        refused="needs a launcher of protocol 2",
        why_not="it is refused by what it says, in every home",
    ),
    Bad(
        "dies at once",
        "def main(argv):\n    os._exit(3)",
        refused="it exited with status 3 before it was ready",
        taken_back="it exited with status 3 before it was ready",
    ),
    Bad(
        "is killed at once",
        "def main(argv):\n    os.kill(os.getpid(), signal.SIGKILL)",
        refused="before it was ready",
        taken_back="before it was ready",
    ),
    Bad(
        "raises",
        "def main(argv):\n    raise RuntimeError('this is its end')",
        refused="it exited with status 1 before it was ready",
        taken_back="it exited with status 1 before it was ready",
        words="RuntimeError: this is its end",
    ),
    Bad(
        "dies after 1 s",
        "later(1.0, lambda hub: os._exit(4))",
        refused="it exited with status 4 soon after it was ready",
        taken_back=DIES_SOON,
        config={"probation_s": 1.5, "probation_max_s": 30},
    ),
    Bad(
        "dies late in probation",
        f"later(lambda settings: settings.probation_s * {LATE_S}, lambda hub: os._exit(4))",
        taken_back=DIES_SOON,
        config={"probation_s": 3, "probation_max_s": 30},
        why_not="the preflight does not wait so long, so that the trial tells in both cases",
    ),
    Bad(
        "hangs before it is ready",
        "def main(argv):\n    time.sleep(3600)",
        refused="it was not ready within",
        taken_back="it was not ready within 3 s",
        slow=True,
    ),
    Bad(
        "hangs after it is ready",
        "later(0.1, lambda hub: time.sleep(3600))",
        refused="/health did not answer within",
        taken_back="it hangs: no sign of life",
        slow=True,
    ),
    Bad(
        "answers 500",
        "dispatch = broken_dispatch",
        refused="/health answered 500",
        taken_back="/health answered 500",
    ),
    Bad(
        "answers 500 after a while",
        "def broken(hub):\n    global dispatch\n    dispatch = broken_dispatch\nlater(0.5, broken)",
        refused="/health answered 500",
        taken_back="/health answered 500",
        config={"probation_s": 1.5, "probation_max_s": 30},
    ),
    Bad(
        "reports another version",
        'VERSION = "9.9.9"',
        refused="it says it is version '9.9.9'",
        taken_back="it says it is version '9.9.9'",
    ),
    Bad(
        "reports another digest",
        'files.sha256_file = lambda path: "0" * 64',
        refused="the digest differs",
        taken_back="the digest differs",
    ),
    Bad(
        "changes its instance",
        "def dispatch(table, request, app):\n"
        "    answer = _good_dispatch(table, request, app)\n"
        "    if request.path != '/health':\n"
        "        return answer\n"
        "    other = files.new_id().encode()\n"
        "    return answer._replace(body=answer.body.replace(app.instance.encode(), other))",
        refused="its process changed",
        taken_back="its process changed",
    ),
    Bad(
        "exits with 0",
        "def main(argv):\n    return 0",
        refused="it exited with status 0 before it was ready",
        taken_back="it exited with status 0 before it was ready",
    ),
    Bad(
        "exits with 0 after it was ready",
        "later(0.1, lambda hub: os._exit(0))",
        refused="it exited with status 0",
        taken_back="it exited with status 0",
    ),
    Bad(
        "stops by itself",
        "later(0.1, lambda hub: hub.stop())",
        refused="it exited with status 0",
        taken_back="it was started as often as allowed",
        config={"tries": 2},
    ),
    Bad(
        "says nonsense and never that it is ready",
        NONSENSE,
        refused="it was not ready within",
        taken_back="it was not ready within 3 s",
        slow=True,
    ),
    Bad(
        "says that it could not be executed",
        "later(0, lambda hub: None)\n"
        "Hub._say = lambda self, text: send(self._inherited.notify_address, b'ERRNO=8')",
        refused="it was not ready within",
        taken_back="it was not ready within 3 s",
        slow=True,
    ),
    Bad(
        "floods the notify socket",
        FLOOD,
        refused="/health answered 500",
        taken_back="/health answered 500",
    ),
    Bad(
        "prints without an end",
        "def main(argv):\n"
        "    for _ in range(300):\n"
        "        os.write(2, b'x' * 65536)\n"
        "    os.write(2, b'\\nand these are its last words')\n"
        "    os._exit(3)",
        refused="it exited with status 3 before it was ready",
        taken_back="it exited with status 3 before it was ready",
        words="and these are its last words",
    ),
    Bad(
        "ignores SIGTERM",
        "Hub.stop = lambda self: None\n",
        refused="it did not stop within",
        slow=True,
        why_not="that is no fault of a release that is healthy: the next row has one that is not",
    ),
    Bad(
        "ignores SIGTERM and answers 500",
        "dispatch = broken_dispatch\nHub.stop = lambda self: None",
        taken_back="/health answered 500",
        why_not="the preflight sees the 500 first",
    ),
    Bad(
        "dies of the handoff record",
        "def adopt(self):\n"
        "    if self._inherited.handoff_fd >= 0:\n"
        "        os._exit(5)\n"
        "Hub._adopt = adopt",
        taken_back="it exited with status 5 before it was ready",
        why_not="the preflight hands nothing over, so that the trial tells in both cases",
    ),
)
BY_NAME = {bad.name: bad for bad in WAYS}
REFUSED = tuple(bad for bad in WAYS if bad.refused)
TAKEN_BACK = tuple(bad for bad in WAYS if bad.taken_back)


# --- files that are none, or not what was published -----------------------------------------------


class Broken(NamedTuple):
    """A file that no hub can be made of: `spoil` changes the published bytes.

    It is spoilt `before` publishing (it is what it is), or in the repository, or in the home
    after it was verified (where the launcher finds out).
    """

    name: str
    spoil: Callable[[bytes], bytes | None]
    as_published: str
    in_repository: str = "is not the file that was published"
    in_home: str = "the release is missing or damaged"


BROKEN = (
    Broken("not a zip", lambda data: b"this is no release\n" * 100, "it does not start"),
    Broken("truncated", lambda data: data[: len(data) // 2], "it does not start"),
    Broken("other bytes", lambda data: data[:-1] + bytes([data[-1] ^ 1]), ""),
    Broken("missing", lambda data: None, "", in_repository="cannot be read"),
)
BROKEN_BY_NAME = {broken.name: broken for broken in BROKEN}


def spoil(path: str, how: Callable[[bytes], bytes | None]) -> None:
    """Change a file in its place; None takes it away."""
    data = how(Path(path).read_bytes())
    if data is None:
        os.unlink(path)
        return
    os.chmod(path, 0o600)
    Path(path).write_bytes(data)


def publish(directory: str, path: str, version: str = VERSION) -> str:
    """Publish without a look at the file, which `release publish` would refuse."""
    return repository.publish(directory, "latest", path, version)


def target_of(directory: str, digest: str, version: str = VERSION) -> str:
    """The file of a release in the repository."""
    return os.path.join(directory, "targets", f"{digest}.{repository.name_of(version)}")

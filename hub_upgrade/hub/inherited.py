"""What a launcher hands to its hub: descriptors and variables (contract, section 8, protocol 1)."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from hub_upgrade.errors import UsageError
from hub_upgrade.shapes import NamedTuple

FIRST_FD = 3  # SD_LISTEN_FDS_START (sd_listen_fds(3))
MOST_FDS = 64
HANDOFF = "PARACHUTE_HUB_HANDOFF"
TROUBLE = "PARACHUTE_HUB_TROUBLE"
OURS = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", HANDOFF, TROUBLE)
"""Between launcher and hub only: no child of the hub ever sees these."""


class Inherited(NamedTuple):
    """The listening socket, the home's lock (-1: none), and where to say how it goes."""

    listener: socket.socket
    lock_fd: int
    notify_address: str
    handoff_fd: int
    trouble: str

    def variables(self, handoff_fd: int) -> dict[str, str]:
        """The same again, for the next image of this process."""
        names = ["http"] if self.lock_fd < 0 else ["http", "serve.lock"]
        variables = {
            "NOTIFY_SOCKET": self.notify_address,
            "LISTEN_FDS": str(len(names)),
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDNAMES": ":".join(names),
        }
        if handoff_fd >= 0:
            variables[HANDOFF] = str(handoff_fd)
        if self.trouble:
            variables[TROUBLE] = self.trouble
        return variables

    def set_inheritable(self, inheritable: bool) -> None:
        """Whether the descriptors survive an exec: only for the moment of a handoff."""
        self.listener.set_inheritable(inheritable)
        if self.lock_fd >= 0:
            os.set_inheritable(self.lock_fd, inheritable)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def take(environ: MutableMapping[str, str]) -> Inherited:
    """Take the launcher's variables out of the environment; raises UsageError without one."""
    found = {name: environ.pop(name, "") for name in OURS}
    count = _number(found["LISTEN_FDS"])
    if _number(found["LISTEN_PID"]) != os.getpid() or not 1 <= count <= MOST_FDS:
        raise UsageError("run is started by the launcher only; use: hub.pyz serve")
    names = found["LISTEN_FDNAMES"].split(":")
    lock_fd = FIRST_FD + names.index("serve.lock") if "serve.lock" in names[:count] else -1
    where = names.index("http") if "http" in names[:count] else 0
    try:
        listener = socket.socket(fileno=FIRST_FD + where)
    except OSError as error:
        raise UsageError("run was given no listening socket; use: hub.pyz serve") from error
    inherited = Inherited(
        listener=listener,
        lock_fd=lock_fd,
        notify_address=found["NOTIFY_SOCKET"],
        handoff_fd=_number(found[HANDOFF]),
        trouble=found[TROUBLE],
    )
    inherited.listener.setblocking(False)
    inherited.set_inheritable(False)
    return inherited

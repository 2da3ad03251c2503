"""The service-notification datagrams (sd_notify(3)), both ends."""

from __future__ import annotations

import os
import socket
import struct
import sys

MAX_DATAGRAM = 4096
TMP = "/tmp"  # noqa: S108 - a directory of our own in it
_LINUX = sys.platform == "linux"
_PASSCRED = getattr(socket, "SO_PASSCRED", 0)
_CREDENTIALS = getattr(socket, "SCM_CREDENTIALS", -1)


def send(address: str, text: str) -> bool:
    """Send one notification without ever waiting; whether it went out."""
    if not address:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            target = "\0" + address[1:] if address.startswith("@") else address
            sender.sendto(text.encode("utf-8", "replace"), target)
    except OSError:
        return False
    return True


def parse(data: bytes) -> dict[str, str]:
    """The fields of one datagram; nonsense is an empty dictionary."""
    fields = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.isidentifier():
            fields[name] = value
    return fields


class Receiver:
    """A socket of our own for one child's notifications.

    On Linux its address is abstract with a random name, so that a read-only root will do, and the
    kernel says who sent a datagram. Elsewhere it is a path in a private directory.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path = ""
        if _LINUX:
            name = "hub-upgrade-" + os.urandom(12).hex()
            self._socket.setsockopt(socket.SOL_SOCKET, _PASSCRED, 1)
            self._socket.bind("\0" + name)
            self.address = "@" + name
        else:
            self.address = self._bind(directory or os.environ.get("TMPDIR", TMP))
        self._socket.setblocking(False)

    def _bind(self, base: str) -> str:
        private = os.path.join(base, "hub-" + os.urandom(6).hex())
        path = os.path.join(private, "notify")
        try:
            os.mkdir(private, 0o700)
            self._path = path
            self._socket.bind(path)
        except OSError:  # not ours to write, or longer than the 104 bytes of an address
            self._remove()
            if base == TMP:
                raise
            return self._bind(TMP)
        return path

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[int, dict[str, str]] | None:
        """The sender's PID (0 where the kernel does not say) and the fields; None for no more.

        Anybody may send: descriptors that come along are closed, or they would use up ours.
        """
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(MAX_DATAGRAM, 256)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return None
        pid = 0
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                for (descriptor,) in struct.iter_unpack("i", payload[: len(payload) // 4 * 4]):
                    os.close(descriptor)
            elif _LINUX and level == socket.SOL_SOCKET and kind == _CREDENTIALS:
                pid = struct.unpack("3i", payload[:12])[0]
        return pid, parse(data)

    def close(self) -> None:
        self._socket.close()
        self._remove()

    def _remove(self) -> None:
        if not self._path:
            return
        for remove, path in ((os.unlink, self._path), (os.rmdir, os.path.dirname(self._path))):
            try:
                remove(path)
            except OSError:
                pass

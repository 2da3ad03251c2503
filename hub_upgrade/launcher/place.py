"""Where a launcher lives: its home, its lock, its listening socket, its factory's copy."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import MutableMapping

from hub_upgrade.domain.boot_record import Release
from hub_upgrade.errors import HostError
from hub_upgrade.host import boot_store, files, log, processes, releases
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.launcher.trouble import why_unusable
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import NamedTuple
from hub_upgrade.version import VERSION

LOCK_WAIT_S = 15.0
LOCK_POLL_S = 0.05
BACKLOG = 512
FIRST_FD = 3  # SD_LISTEN_FDS_START
PASSED = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Place(NamedTuple):
    """What a launcher needs before it can decide anything. `trouble` says why home is no use;
    `spare` is a descriptor of the factory's code, for when its copy is damaged."""

    home: Home
    lock: Lock | None
    trouble: str
    listener: socket.socket
    factory: Release
    factory_path: str
    original: str
    spare: int


class StoppedEarly(Exception):  # noqa: N818 - a request that was granted, not an error
    """Somebody asked for a stop before anything was started."""


def say(text: str) -> None:
    """One line of the launcher's in the log."""
    log.say("launcher", text)


def take_home(settings: Settings) -> tuple[Lock | None, str]:
    """Home's lock, or why there is none. Raises HostError when another launcher holds it."""
    home = settings.home
    try:
        files.make_directory(home.root)
        files.make_directory(home.releases)
        lock = _wait_for_lock(settings)
    except OSError as error:
        return None, why_unusable(home, error)
    _tidy(home)
    return lock, ""


def _tidy(home: Home) -> None:
    """Make room for what must be there, as far as one can without harm.

    What is no file can be locked by nobody, so no process has it for its lock: to move it aside
    gives no second owner, and only the holder of `serve.lock` does.
    """
    for path in (home.operation_lock, home.state_lock):
        try:
            if not os.path.lexists(path):
                continue
            if os.path.islink(path) or not os.path.isfile(path):
                say(f"{path} is no file that can be locked; it is now {files.move_aside(path)}")
            elif not os.access(path, os.R_OK | os.W_OK):
                os.chmod(path, 0o600)
                say(f"{path} could not be opened; its mode is 0600 again")
        except OSError as error:
            say(f"{path} cannot be used: {error.strerror}")
    try:
        files.make_directory(home.logs)
    except OSError as error:
        say(f"no logs are kept: {home.logs}: {error.strerror}")


def _wait_for_lock(settings: Settings) -> Lock:
    home = settings.home
    started = time.monotonic()
    asked = False
    while True:
        lock = Lock.try_take(home.serve_lock)
        if lock is not None:
            return lock
        if signal.sigpending() & STOP_SIGNALS:
            raise StoppedEarly
        serving = boot_store.read_serve(home) or {}
        waited = time.monotonic() - started
        if serving.get("proving") is True and not asked:
            asked = _ask_prover_to_leave(serving)
        if waited > settings.stop_s:
            _kill_orphan(serving)
        if waited > LOCK_WAIT_S:
            pid, address = serving.get("pid"), serving.get("address")
            raise HostError(
                f"{home.root} is served already by process {pid} at {address}; stop that one, "
                "or use another --config-dir"
            )
        time.sleep(LOCK_POLL_S)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _started(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _ask_prover_to_leave(serving: dict[str, object]) -> bool:
    return processes.signal_process(
        _number(serving.get("pid")), _started(serving.get("start_time")), signal.SIGTERM
    )


def _kill_orphan(serving: dict[str, object]) -> None:
    """A hub whose launcher is dead has had its time to leave."""
    if processes.alive(_number(serving.get("pid")), _started(serving.get("start_time"))):
        return
    processes.signal_process(
        _number(serving.get("hub_pid")), _started(serving.get("hub_start_time")), signal.SIGKILL
    )


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; raises HostError with what to do about a taken port."""
    host = host.strip("[]")  # an address of IPv6 may be written as in a URL
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            _serve_both(listener)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise HostError(
                f"port {port} on {host} is taken by another program; choose another with --port"
            ) from error
        raise HostError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    except (TypeError, ValueError) as error:  # what is no name at all: nothing asks a resolver
        listener.close()
        raise HostError(f"cannot listen on {host[:100]!r}: it is not the name of a host") from error
    listener.setblocking(False)
    return listener


def passed_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The listening socket that a manager passes (sd_listen_fds(3)), None for none; its variables
    are taken away, and it does not survive an exec. Raises HostError for what is no use."""
    pid, count, names = (environ.pop(name, "") for name in PASSED)
    if pid != str(os.getpid()) or not count.isdecimal() or int(count) == 0:
        return None
    known = names.split(":")
    if int(count) > 1 and known.count("http") != 1:
        raise HostError(f"{count} sockets were passed (LISTEN_FDS), and not one of them as http")
    number = FIRST_FD + (known.index("http") if int(count) > 1 else 0)
    try:
        passed = socket.socket(fileno=number)
        listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if passed.family not in (socket.AF_INET, socket.AF_INET6) or not listens:
            raise OSError(errno.EINVAL, "it is no listening TCP socket")
        passed.listen(BACKLOG)
    except OSError as error:
        why = f"the socket that was passed (LISTEN_FDS) is no use: {error.strerror}"
        raise HostError(why) from error
    passed.set_inheritable(False)
    passed.setblocking(False)
    return passed


def _serve_both(listener: socket.socket) -> None:
    """`::` is for clients of IPv4 too, whatever the machine's default; where none can, for IPv6."""
    try:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:
        pass


def own_file() -> str:
    """The factory file: what the operator installed and started. Raises HostError."""
    path = os.path.realpath(sys.argv[0])
    if not os.path.isfile(path) or path.endswith(".py"):
        raise HostError("serve runs from a built hub.pyz; make one with: python3 build_pyz.py")
    return path


def keep_factory(home: Home, usable: bool, original: str) -> tuple[Release, str, int]:
    """The factory's own copy, where it lies (in home, else in a private place, else itself), and
    a spare of it.

    The installed file may be replaced while we run, so it is not what runs. Raises HostError.
    """
    try:
        data = files.read_regular(original, releases.MOST_BYTES)
    except (OSError, files.Unreadable) as error:
        raise HostError(f"{original} cannot be read: {error}") from error
    digest = files.sha256(data)
    name = releases.name_of(VERSION, digest)
    factory = Release(name=name, version=VERSION, digest=digest)
    path = _copy(home, usable, factory, data)
    if not path:
        say(f"no copy of {original} anywhere: do not replace it while this runs")
    return factory, path or original, _spare(original, data)


def _copy(home: Home, usable: bool, factory: Release, data: bytes) -> str:
    """A whole copy, made if need be; nothing where none can be made."""
    if usable:
        try:
            releases.add(home, factory.version, data)
            return releases.path_of(home, factory.name)
        except OSError as error:
            say(f"no copy of hub.pyz in {home.releases}: {error.strerror}")
    if releases.is_whole(home, factory.name, factory.digest):
        return releases.path_of(home, factory.name)
    private = os.path.join(os.environ.get("TMPDIR", "/tmp"), releases.PRIVATE + os.urandom(6).hex())  # noqa: S108
    path = os.path.join(private, releases.FILE)
    try:
        os.mkdir(private, 0o700)
        files.write_new(path, data, 0o500)
    except OSError:
        drop_private(path)
        return ""
    return path


def _spare(original: str, data: bytes) -> int:
    """The code once more, in memory that is nobody's file; else the file, which may be renamed
    over. -1 for none."""
    try:
        if not hasattr(os, "memfd_create"):
            return os.open(original, os.O_RDONLY | os.O_CLOEXEC)
        spare: int = os.memfd_create("factory")
        files.write_all(spare, data)
    except OSError:
        return -1
    return spare


def whole_factory(place: Place) -> str:
    """The path of the factory's copy, made again where it was lost or damaged meanwhile."""
    if _is_factory(place.factory_path, place):
        return place.factory_path
    data = _spare_code(place) or _code_at(place.original, place)
    say(f"the copy of {place.original} is missing or damaged; it is made again")
    made = _copy(place.home, not place.trouble, place.factory, data) if data else ""
    return made or (place.original if _is_factory(place.original, place) else place.factory_path)


def _spare_code(place: Place) -> bytes:
    try:
        data = os.pread(place.spare, releases.MOST_BYTES, 0)
    except OSError:
        return b""
    return data if files.sha256(data) == place.factory.digest else b""


def _is_factory(path: str, place: Place) -> bool:
    try:
        return files.sha256_regular(path, releases.MOST_BYTES) == place.factory.digest
    except (OSError, files.Unreadable):
        return False


def _code_at(path: str, place: Place) -> bytes:
    """What lies there, if it is the factory's code; else nothing."""
    try:
        data = files.read_regular(path, releases.MOST_BYTES)
    except (OSError, files.Unreadable):
        return b""
    return data if files.sha256(data) == place.factory.digest else b""


def drop_private(path: str) -> None:
    """Take away a copy that was put outside of home."""
    directory = os.path.dirname(path)
    if not os.path.basename(directory).startswith(releases.PRIVATE):
        return
    for remove, name in ((os.unlink, path), (os.rmdir, directory)):
        try:
            remove(name)
        except OSError:
            pass


def settle_in(settings: Settings, proving: bool, passed: socket.socket | None = None) -> Place:
    """Everything at its place, the socket that was passed for one of our own; or HostError, or
    StoppedEarly when a stop came first."""
    original = own_file()
    lock, trouble = take_home(settings)
    if trouble:
        say(trouble)
    host, port = ("127.0.0.1", 0) if proving else (settings.host, settings.port)
    listener = passed or listen(host, port)
    factory, path, spare = keep_factory(settings.home, not trouble, original)
    return Place(settings.home, lock, trouble, listener, factory, path, original, spare)

"""Talks to the hub that runs on this machine, as this user. Never by a proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from hub_upgrade.domain.operation import Operation
from hub_upgrade.errors import HostError, HubError, RefusedError
from hub_upgrade.host import boot_store, processes
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.look import reachable
from hub_upgrade.host.token_store import ADMIN, TokenStore
from hub_upgrade.shapes import Any, NamedTuple

LOCATE_S = 5.0
"""How long `/health` may show another instance than `serve.json`: they differ during a handoff."""
RETRY_S = 60.0
"""How long a hub that is being replaced, or stopped with all its machine, is asked again."""
ANSWER_S = 10.0
POST_ANSWER_S = 45.0
"""A request that changes something is sent once: connections wait while a trial is taken back."""
LOOK_S = 2.0
PAUSE_S = 0.1
PLAN_ANSWER_S = 40.0
TOKEN_S = 15 * 60.0
MAX_ANSWER = 16 * 1024 * 1024
EXIT_CODES = {"upgrade_in_flight": 4, "invalid_channel": 2, "invalid_version": 2, "invalid_body": 2}


class LauncherGoneError(HostError):
    """The launcher ended while its hub was asked."""


class NoAnswerError(HostError):
    """A hub is there, and does not answer."""


class Found(NamedTuple):
    """A running hub: where it listens, and what its launcher wrote about it."""

    host: str
    port: int
    serving: dict[str, Any]
    version: str = ""


class Answer(NamedTuple):
    """An HTTP status and the JSON value that came with it."""

    status: int
    value: Any


def user_name(uid: int | None = None) -> str:
    """The name of a user, or of the one that we are."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def local_user() -> str:
    """Who asks, for the record, when no token says so."""
    return f"local:{user_name()} from the command line"


def owner(home: Home) -> int:
    """The user whose home this is; we, where there is none yet."""
    try:
        return os.stat(home.root).st_uid
    except OSError:
        return os.geteuid()


def unreached(error: OSError) -> str:
    """What is wrong with a home of which nobody can tell whether it is there, and what to do."""
    return (
        f"cannot be reached ({error.strerror}): run this as its user, or use another --config-dir"
    )


def ensure_own(home: Home) -> None:
    """Refuse to write into another user's home: its hub could not read what we leave there."""
    try:
        theirs = os.stat(home.root).st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"{home.root} {unreached(error)}") from error
    if theirs == os.geteuid():
        return
    name = user_name(theirs)
    whom = f"'#{name}'" if name.isdecimal() else name
    raise HostError(f"{home.root} belongs to {name}: run this as that user (sudo -u {whom} ...)")


def ensure_readable(home: Home) -> None:
    """Refuse to tell of what cannot be read as if it were not there."""
    for path, wanted in ((home.root, os.X_OK), (home.status, os.R_OK), (home.history, os.R_OK)):
        if not os.access(path, wanted) and (path == home.root or os.path.lexists(path)):
            ensure_own(home)
            if os.path.lexists(path):
                raise HostError(f"{path} cannot be read; mend it with: chmod u+rwX {path}")


def helper_lives(record: Operation) -> bool:
    """Whether the process that prepares this operation is alive."""
    return processes.alive(record.helper_pid or 0, record.helper_start_time)


def launcher_holds(home: Home) -> bool:
    """Whether a launcher, or a hub that it left, is there: somebody holds `serve.lock`."""
    if not os.path.exists(home.serve_lock):
        return False
    try:
        lock = Lock.try_take(home.serve_lock, shared=True)
    except OSError:
        return _launcher_lives(boot_store.read_serve(home) or {})
    if lock is None:
        return True
    lock.release()
    return False


def _launcher_lives(serving: dict[str, Any]) -> bool:
    pid, started = serving.get("pid"), serving.get("start_time")
    if not isinstance(pid, int) or not isinstance(started, str):
        return False
    return processes.alive(pid, started)


def locate(home: Home) -> Found | None:
    """The hub that runs on this home, or None when none does.

    An address is believed only when `/health` there shows the instance that `serve.json` names.
    Raises NoAnswerError when a launcher is there whose hub cannot be reached.
    """
    deadline = time.monotonic() + LOCATE_S
    why = "serve.json does not say where; on a full disk it is not written"
    while launcher_holds(home):
        serving = boot_store.read_serve(home) or {}
        found = _address(serving)
        if found is not None and _launcher_lives(serving):
            version, why = _seen(found)
            if not why:
                return found._replace(version=version)
        if time.monotonic() > deadline:
            pid = serving.get("pid", "unknown")
            raise NoAnswerError(
                f"{home.root} is served by process {pid}, but its hub cannot be reached: {why}; "
                "see what it printed, and restart it if it stays so"
            )
        time.sleep(PAUSE_S)
    return None


def _address(serving: dict[str, Any]) -> Found | None:
    try:
        parts = urlsplit(str(serving.get("address")))
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or not host or port is None or not serving.get("instance"):
        return None
    return Found(reachable((host, port))[0], port, serving)


def _seen(found: Found) -> tuple[str, str]:
    """The version that answers there; or why it is not the hub that `serve.json` names."""
    address = found.serving["address"]
    try:
        answer = ask(found, "GET", "/health", None, None, LOOK_S)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return "", f"{address} does not answer ({_why(error)})"
    value = answer.value if isinstance(answer.value, dict) else {}
    if answer.status != 200 or value.get("instance") != found.serving["instance"]:
        return "", f"{address} is not what serve.json says; on a full disk it is not written"
    return str(value.get("version")), ""


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def ask(
    found: Found, method: str, path: str, body: Any, token: str | None, timeout_s: float
) -> Answer:
    """One request on a connection of its own; raises OSError, HTTPException or ValueError."""
    connection = http.client.HTTPConnection(found.host, found.port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, headers)
        response = connection.getresponse()
        data = response.read(MAX_ANSWER)
        return Answer(response.status, json.loads(data.decode("utf-8")))
    finally:
        connection.close()


class Client:
    """Requests to one hub, with a short-lived token of our own."""

    def __init__(self, home: Home, found: Found) -> None:
        self._home = home
        self._found = found
        self._tokens = TokenStore(home)
        self._token = ""

    @property
    def serving(self) -> dict[str, Any]:
        """What the launcher wrote about itself."""
        return self._found.serving

    def get(self, path: str, timeout_s: float = ANSWER_S) -> Answer:
        """Read something; a hub that is being replaced is asked again, for at most RETRY_S.

        Raises LauncherGoneError or NoAnswerError.
        """
        deadline = time.monotonic() + RETRY_S
        while True:
            try:
                answer = self._ask("GET", path, None, timeout_s)
                if answer.status != 503:
                    return answer
                why = str(answer.value.get("error_description"))
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = _why(error)
            self._find_again(deadline, why)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """Ask for something; the answer of a 202, or RefusedError. Sent once: again could be twice.

        A connection that was refused has sent nothing, and a hub that said 503 has begun nothing:
        that is tried again. Raises NoAnswerError.
        """
        deadline = time.monotonic() + RETRY_S
        while True:
            try:
                answer = self._ask("POST", path, body, POST_ANSWER_S)
                if answer.status != 503:
                    break
                self._find_again(deadline, str(answer.value.get("error_description")))
            except ConnectionRefusedError as error:
                self._find_again(deadline, str(error))
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise NoAnswerError(
                    f"the hub did not answer ({_why(error)}); whether it "
                    "accepted says: hub.pyz status"
                ) from error
        if answer.status != 202:
            raise refusal(answer)
        return dict(answer.value)

    def _ask(self, method: str, path: str, body: Any, timeout_s: float) -> Answer:
        if not _launcher_lives(self._found.serving):  # its port may be anybody's by now
            raise ConnectionRefusedError("its launcher is gone")
        answer = ask(self._found, method, path, body, self._token or self._renew(), timeout_s)
        if answer.status == 401:  # it has expired in a long operation
            answer = ask(self._found, method, path, body, self._renew(), timeout_s)
        return answer

    def _renew(self) -> str:
        self.forget()
        expires_at = time.time() + TOKEN_S
        self._token = self._tokens.create((ADMIN,), f"local:{user_name()}"[:100], expires_at)
        return self._token

    def forget(self) -> None:
        """Remove our token; one that cannot be removed ends by itself."""
        token, self._token = self._token, ""
        if token:
            with contextlib.suppress(HubError):
                self._tokens.forget(token)

    def _find_again(self, deadline: float, why: str) -> None:
        """Wait until a hub is to be believed again: where it listens may have changed."""
        while True:
            if not launcher_holds(self._home):
                raise LauncherGoneError("the hub was stopped")
            if time.monotonic() > deadline:
                raise NoAnswerError(f"the hub has not answered for {RETRY_S:g} s ({why})")
            time.sleep(PAUSE_S)
            fresh = _address(boot_store.read_serve(self._home) or {})
            if fresh is not None and _launcher_lives(fresh.serving) and not _seen(fresh)[1]:
                self._found = fresh
                return


def refusal(answer: Answer) -> RefusedError:
    """What a hub refused, in its own words, with the command line's exit code."""
    value = answer.value if isinstance(answer.value, dict) else {}
    code = str(value.get("error") or f"http_{answer.status}")
    sentence = str(value.get("error_description") or f"the hub answered {answer.status}")
    return RefusedError(code, sentence, answer.status, EXIT_CODES.get(code, 1))


@contextlib.contextmanager
def connected(home: Home) -> Iterator[Client | None]:
    """A client of the hub that runs on this home, or None when none does.

    Its token is gone afterwards. Raises NoAnswerError, and HostError for another user's home.
    """
    ensure_own(home)
    found = locate(home)
    if found is None:
        yield None
        return
    client = Client(home, found)
    try:
        yield client
    finally:
        client.forget()

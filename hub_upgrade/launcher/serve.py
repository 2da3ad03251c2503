"""`hub.pyz serve`: its command line, and everything at its place before the launcher's life."""

from __future__ import annotations

import os
import signal

from hub_upgrade.domain.managed import Managed
from hub_upgrade.errors import HostError, HubError
from hub_upgrade.host import container, log, processes
from hub_upgrade.host.look import url_of
from hub_upgrade.host.loop import Loop
from hub_upgrade.launcher.main import Launcher
from hub_upgrade.launcher.place import StoppedEarly, passed_socket, say, settle_in
from hub_upgrade.settings import load, parse_serve_flags

HELP = """\
usage: hub.pyz serve [--config-dir DIR] [--host HOST] [--port PORT] [--releases DIR]
                     [--log-format text|json] [--factory]

Serve the hub, and look after it: upgrade it when asked, and go back when a release is bad.

  --config-dir DIR  home, where everything is kept (PARACHUTE_HOME; ~/.parachute)
  --host HOST       the address to listen on (PARACHUTE_BIND_HOST; 127.0.0.1)
  --port PORT       the port, 0 picks one (PORT; 1939)
  --releases DIR    the release repository to follow ("releases" in hub.json)
  --log-format F    how stderr is written, text or json (PARACHUTE_LOG_FORMAT; text)
  --factory         try this very file, whatever was tried or rejected before

example: python3 hub.pyz serve --port 8080 --releases /srv/releases
exit codes: 0 stopped, 1 it cannot serve, 2 wrong usage; or that of a hub that died by itself
files: serve.lock, serve.json, releases/ and logs/trial-*.log in home; all of home for the hub
"""

LOOPBACK = ("127.", "::1", "[::1]", "localhost")


def tell_of_loopback(host: str) -> None:
    """In a container, that is an address which nobody outside can reach."""
    signs = container.look().signs if host.startswith(LOOPBACK) else ()
    if signs:
        text = f"this looks like a container ({signs[0]}), and nobody outside of it can reach "
        text += f"{host}; to let others in, set PARACHUTE_BIND_HOST=0.0.0.0"
        log.say("launcher", text, log.WARNING)


def needs_port_of_its_own(ours: int, managed: Managed) -> None:
    """The managed hub's is not ours, also while that hub does not run; raises HostError."""
    port = managed.address[1]
    if ours == port:
        raise HostError(
            f"port {port} is the one of the hub that hub.json names ({managed.health_url}): give "
            f"this one a port of its own, such as --port {port - 1} or PORT={port - 1}"
        )


def main(argv: list[str]) -> int:
    """`hub.pyz serve`; returns its exit code."""
    if "--help" in argv or "-h" in argv:
        print(HELP, end="")
        return 0
    signal.pthread_sigmask(signal.SIG_BLOCK, processes.HELD_SIGNALS)
    try:
        flags = parse_serve_flags(argv)
        proving = "prove" in flags
        settings = load(flags, os.environ)
        os.environ[log.FORMAT_VARIABLE] = settings.log_format
        if settings.config_error:
            say(settings.config_error)
        passed = None if proving else passed_socket(os.environ)
        host, port = passed.getsockname()[:2] if passed else (settings.host, settings.port)
        if settings.hub is not None and not proving:
            needs_port_of_its_own(port, settings.hub)
        place = settle_in(settings, proving, passed)
    except StoppedEarly:
        return 0
    except HubError as error:
        log.say("hub.pyz serve", error.sentence, log.ERROR)
        return error.exit_code
    if not proving:
        tell_of_loopback(host)
        print(f"listening on {url_of(place.listener)}", flush=True)
    return Launcher(settings, place, Loop(), forced="factory" in flags, proving=proving).run()

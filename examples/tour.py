"""What `make run` shows: a hub that upgrades itself before one's eyes, and then goes on serving.

Nothing is simulated: two real files are built, one is served, and a real POST replaces it by the
other. Everything lives in a scratch directory, which goes when the tour ends (Ctrl-C).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import build_pyz  # noqa: E402 - it lies beside this directory
from hub_upgrade.version import VERSION  # noqa: E402 - the same

PROBATION_S = 3
FOLLOW_S = 120.0
STOP_S = 15.0
FINISHED = ("succeeded", "failed", "redeploy-required")


class TourError(Exception):
    """Something did not go as shown."""


class Asked(Exception):  # noqa: N818 - a stop is no error
    """Somebody pressed Ctrl-C, or sent SIGTERM."""


class Tour:
    """One scratch directory, one release repository, and one hub."""

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch
        self.home = os.path.join(scratch, "home")
        self.repository = os.path.join(scratch, "releases")
        self.token_file = os.path.join(scratch, "token")
        self.installed = str(ROOT / "dist" / "hub.pyz")
        self.next_version = _bumped(VERSION, 1)
        self.third_version = _bumped(VERSION, 2)
        self.url = ""
        self._token = ""
        self._serve: subprocess.Popen[str] | None = None

    # --- the scenes -----------------------------------------------------------------------------

    def build(self) -> None:
        """The file that is installed, a newer one, and a repository that has it."""
        title(f"1. Build {VERSION}, and {self.next_version} as the release to upgrade to")
        os.makedirs(os.path.dirname(self.installed), exist_ok=True)
        build_pyz.build(self.installed, VERSION)
        os.mkdir(self.home, 0o700)
        config = {"probation_s": PROBATION_S, "home_persists": True}  # as long as the tour does
        Path(self.home, "hub.json").write_text(json.dumps(config))
        print(f"scratch directory: {self.scratch}")
        self.publish(self.next_version)
        self._token = self.hub(
            "token", "create", "--scope", "hub:admin", "--name", "tour", "--config-dir", self.home
        )
        descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._token)

    def publish(self, version: str) -> None:
        """Build a release of that version, and put it into the repository."""
        built = os.path.join(self.scratch, f"hub-{version}.pyz")
        build_pyz.build(built, version)
        print(self.hub("release", "publish", self.repository, "--channel", "latest", built))

    def serve(self) -> None:
        """Start it as an operator would."""
        title("2. Serve it")
        argv = ["serve", "--config-dir", self.home, "--releases", self.repository, "--port", "0"]
        print(f"$ {_shown(sys.executable, self.installed, *argv)}")
        self._serve = subprocess.Popen(
            [sys.executable, self.installed, *argv],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches it once: through us
        )
        assert self._serve.stdout is not None
        line = self._serve.stdout.readline().strip()
        print(line)
        if not line.startswith("listening on "):
            raise TourError("the hub did not start")
        self.url = line.split()[-1]

    def upgrade(self) -> None:
        """The real POST, followed to its end."""
        title("3. Upgrade it by POST /api/hub/upgrade")
        before, pids = self.healthy(), self.pids()
        print(f"before: {self.told(before, pids)}")
        status, accepted = self.request("POST", "/api/hub/upgrade", {})
        print(f"{status} {json.dumps(accepted)}")
        if status != 202:
            raise TourError("the upgrade was not accepted")
        end = self.follow(str(accepted["operation_id"]))
        after, pids_after = self.healthy(), self.pids()
        print(f"after:  {self.told(after, pids_after)}")
        if end["phase"] != "succeeded" or after["version"] != self.next_version:
            raise TourError(f"the upgrade ended as {end['phase']}: {end.get('error')}")
        if pids != pids_after:
            raise TourError(f"the processes changed: {pids} -> {pids_after}")
        print("The processes are the same, and the program in them is another one.")

    def follow(self, operation_id: str) -> dict[str, Any]:
        """Print each step and each line of the log as it comes; the record at the end."""
        deadline = time.monotonic() + FOLLOW_S
        place: tuple[str, str] | None = None
        told = 0
        while time.monotonic() < deadline:
            _status, record = self.request("GET", "/api/hub/upgrade/status")
            if record.get("operation_id") != operation_id:
                raise TourError(f"the status is not this operation's: {record}")
            log = record.get("log", [])
            for line in log[told:]:
                print(f"    {line}")
            told = len(log)
            if (record["phase"], record["step"]) != place:
                place = (record["phase"], record["step"])
                print(f"  {place[0]} ({place[1]})", flush=True)
            if record["phase"] in FINISHED:
                return dict(record)
            time.sleep(0.1)
        raise TourError("the upgrade did not end in time")

    def go_on(self) -> None:
        """Say what to try, and serve until somebody asks for the end."""
        title(f"4. It goes on serving, and {self.third_version} is there too")
        self.publish(self.third_version)
        print("\nOpen its page, signed in, and press Upgrade (good once, for 15 minutes):\n")
        print(f"  {self.hub('token', 'link', '--name', 'link:tour', '--config-dir', self.home)}\n")
        print("Or in another terminal:\n")
        print(self.what_to_try())
        print("\nCtrl-C stops it, and removes the scratch directory.", flush=True)
        assert self._serve is not None
        raise TourError(f"the hub ended by itself, with {self._serve.wait()}")

    def what_to_try(self) -> str:
        """Commands to copy."""
        hub = _shown(sys.executable, self.installed)
        home = shlex.quote(self.home)
        bearer = f'-H "Authorization: Bearer $(cat {shlex.quote(self.token_file)})"'
        return "\n".join([
            "  # another link to the page",
            f"  {hub} token link --config-dir {home}",
            "",
            "  # what runs, how the last operation went, and whether all is well",
            f"  curl {self.url}/health",
            f"  curl {bearer} {self.url}/api/hub/upgrade/status",
            f"  {hub} status --config-dir {home}",
            f"  {hub} doctor --config-dir {home}",
            "",
            f"  # what an upgrade to {self.third_version} would do, and doing it",
            f"  {hub} plan --config-dir {home}",
            f"  {hub} upgrade --config-dir {home}",
            "",
            "  # go back (by the API or by the command line), and see what was done",
            f"  curl -X POST {bearer} {self.url}/api/hub/rollback    # or:",
            f"  {hub} rollback --config-dir {home}",
            f"  {hub} history --config-dir {home}",
        ])  # fmt: skip

    def stop(self) -> None:
        """Everything ends: the hub by its own choice, or, if it has none, by force."""
        if self._serve is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._serve.send_signal(signal.SIGTERM)
        try:
            self._serve.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._serve.kill()
            self._serve.wait()
        if self._serve.stdout is not None:
            self._serve.stdout.close()

    # --- asking ---------------------------------------------------------------------------------

    def hub(self, *argv: str) -> str:
        """What a command of the installed hub.pyz prints; raises TourError."""
        done = subprocess.run(
            [sys.executable, self.installed, *argv],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TourError(done.stderr.strip())
        return done.stdout.strip()

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request: the status and the JSON answer."""
        connection = http.client.HTTPConnection(self.url.rpartition("/")[2], timeout=30)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def healthy(self) -> dict[str, Any]:
        """What answers on /health."""
        status, body = self.request("GET", "/health")
        if status != 200:
            raise TourError(f"/health answers {status}")
        return dict(body)

    def pids(self) -> tuple[int, int]:
        """Launcher and hub."""
        serving = json.loads(Path(self.home, "serve.json").read_text())
        return serving["pid"], serving["hub_pid"]

    @staticmethod
    def told(health: dict[str, Any], pids: tuple[int, int]) -> str:
        """One line about what runs."""
        release = health["release"][:16]
        where = f"processes {pids[0]} and {pids[1]}"
        return f"version {health['version']} (sha256 {release}...) in {where}"


def _bumped(version: str, by: int) -> str:
    major, minor, *_rest = version.split(".")
    return f"{major}.{int(minor) + by}.0"


def _environment() -> dict[str, str]:
    """Ours, without what would steer a hub."""
    steers = ("PARACHUTE_", "LISTEN_", "NOTIFY_SOCKET", "PORT", "RENDER_", "FLY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(steers)}


def _shown(*argv: str) -> str:
    return " ".join(shlex.quote(word) for word in argv)


def title(text: str) -> None:
    """A heading between two scenes."""
    print(f"\n== {text}", flush=True)


def _asked(_number: int, _frame: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Asked


def main(argv: list[str]) -> int:
    """Give the tour; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tour.py", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the upgrade")
    arguments = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _asked)
    scratch = ""
    tour = None
    code = 0
    try:
        scratch = tempfile.mkdtemp(prefix="hub-tour-")
        tour = Tour(scratch)
        tour.build()
        tour.serve()
        tour.upgrade()
        if not arguments.once:
            tour.go_on()
    except Asked:
        print("\nstopping")
    except (TourError, OSError, build_pyz.BuildError) as error:
        print(f"\ntour.py: {error}", file=sys.stderr)
        code = 1
    finally:
        if tour is not None:
            tour.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"stopped, and {scratch} is removed")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

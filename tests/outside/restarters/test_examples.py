"""examples/, read by what would read it there, and saying the same everywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

from hub_upgrade.settings import TIMES

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
READERS = Path(os.environ.get("OUTSIDE", ".outside")).absolute() / "restarters" / "readers" / "bin"
READ = {
    "yaml": "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))",
    "toml": "import json, sys, tomllib; print(json.dumps(tomllib.load(sys.stdin.buffer)))",
}
KUBERNETES = ("1.25", "1.31", "1.37")
"""The oldest that the reader has, one in between, and the newest."""
STRATEGIES = ("rolling", "immediate", "canary", "bluegreen")

# No registry has what reads these two. The names are those of flyctl's own structures
# (github.com/superfly/flyctl, internal/appconfig) and of Render's reference of a Blueprint
# (render.com/docs/blueprint-spec): as much of either as there is of a hub of this kind.
FLY: dict[str, Any] = {
    "app": str, "primary_region": str, "kill_signal": str, "kill_timeout": str,
    "build": {"dockerfile": str, "image": str, "args": dict},
    "deploy": {"strategy": str, "wait_timeout": str, "max_unavailable": float},
    "env": dict,
    "mounts": [{"source": str, "destination": str, "initial_size": str}],
    "restart": [{"policy": str, "retries": int, "processes": list}],
    "vm": [{"size": str, "memory": str, "cpu_kind": str, "cpus": int}],
    "http_service": {
        "internal_port": int, "force_https": bool, "auto_stop_machines": str,
        "auto_start_machines": bool, "min_machines_running": int,
        "checks": [{"method": str, "path": str, "protocol": str, "interval": str, "timeout": str,
                    "grace_period": str}],
    },
}  # fmt: skip
RENDER: dict[str, Any] = {
    "services": [{
        "type": str, "name": str, "runtime": str, "plan": str, "region": str, "branch": str,
        "dockerfilePath": str, "dockerContext": str, "dockerCommand": str, "healthCheckPath": str,
        "numInstances": int, "disk": {"name": str, "mountPath": str, "sizeGB": int},
        "envVars": [{"key": str, "value": str, "generateValue": bool, "sync": bool}],
    }],
}  # fmt: skip


def seconds(text: str) -> float:
    """A span as Go writes it."""
    parts = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    if not parts or not text:
        raise AssertionError(f"no span: {text!r}")
    return 60 * int(parts[1] or 0) + int(parts[2] or 0)


def misfits(value: Any, known: Any, where: str = "") -> list[str]:
    """What in a value is not of the names and kinds that are known."""
    if isinstance(known, dict) and isinstance(value, dict):
        strange = [f"{where}.{name}" for name in value if name not in known]
        known_ones = [(name, one) for name, one in value.items() if name in known]
        return strange + [
            problem
            for name, one in known_ones
            for problem in misfits(one, known[name], f"{where}.{name}")
        ]
    if isinstance(known, list) and isinstance(value, list):
        return [problem for one in value for problem in misfits(one, known[0], f"{where}[]")]
    fits = isinstance(known, type) and isinstance(value, known)
    return [] if fits and not (known is int and isinstance(value, bool)) else [where]


def read(name: str, text: str = "") -> Any:
    """A file of examples/ as plain values."""
    done = subprocess.run(
        [READERS / "python", "-c", READ[name.rpartition(".")[2]]], check=True, text=True,
        input=text or (EXAMPLES / name).read_text(), stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(done.stdout)


class ReaderCase(unittest.TestCase):
    """Runs readers on the file of that name, and on one that is spoilt."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="examples-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def takes(self, name: str, *argv: str, spoilt: tuple[str, str]) -> None:
        """The reader takes the file as it is, and not with a word of it changed."""
        text = (EXAMPLES / name).read_text()
        self.assertIn(spoilt[0], text)
        path = self.directory / name
        for good, content in ((True, text), (False, text.replace(*spoilt, 1))):
            path.write_text(content)
            done = subprocess.run(
                [*argv, str(path)] if argv[-1] != "config" else [*argv[:-1], str(path), argv[-1]],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            self.assertEqual(done.returncode == 0, good, f"{content}\n{done.stdout}{done.stderr}")


class Readers(ReaderCase):
    def test_compose_is_of_the_specification(self) -> None:
        argv = (str(READERS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
        self.takes("compose.yaml", *argv, spoilt=("read_only:", "read_only_root:"))

    def test_dockers_compose_takes_it(self) -> None:
        argv = ("/usr/bin/docker-compose", "--file", "config")
        self.takes("compose.yaml", *argv, spoilt=("stop_grace_period:", "stop_grace:"))

    def test_podmans_compose_takes_it(self) -> None:
        argv = (str(READERS / "podman-compose"), "--file", "config")
        self.takes("compose.yaml", *argv, spoilt=("services:", "services: ["))

    def test_kubernetes_takes_it_in_every_version(self) -> None:
        for version in KUBERNETES:
            argv = (str(READERS / "kubernetes-validate"), "--strict", "--kubernetes-version")
            spoilt = ("terminationGracePeriodSeconds:", "terminationGraceSeconds:")
            self.takes("kubernetes.yaml", *argv, version, spoilt=spoilt)

    def test_flys_and_renders_have_known_names_of_the_right_kinds(self) -> None:
        for name, known, spoilt in (
            ("fly.toml", FLY, ("internal_port", "internalPort")),
            ("render.yaml", RENDER, ("sizeGB: 1", 'sizeGB: "1"')),
        ):
            text = (EXAMPLES / name).read_text()
            for content, wanted in ((text, 0), (text.replace(*spoilt, 1), 1)):
                value = read(name, content)
                found = misfits(value[0] if isinstance(value, list) else value, known)
                self.assertEqual(len(found), wanted, found)


class Said(unittest.TestCase):
    """What each of them says of the same hub: home, port, user, and how long it may take."""

    image: str
    stop_s = TIMES["stop_s"]
    home, port, user = "/parachute", 1939, 1939

    @classmethod
    def setUpClass(cls) -> None:
        cls.image = (EXAMPLES / "Dockerfile").read_text()

    def test_the_image(self) -> None:
        for line in (f"ENV PARACHUTE_HOME={self.home} PARACHUTE_BIND_HOST=0.0.0.0",
                     f"RUN install -d -o {self.user} -g {self.user} -m 700 {self.home}",
                     f"USER {self.user}:{self.user}"):  # fmt: skip
            self.assertIn(f"\n{line}\n", self.image)
        self.assertIn(f"-p 127.0.0.1:{self.port}:{self.port} -v parachute:{self.home}", self.image)

    def test_compose(self) -> None:
        (file,) = read("compose.yaml")
        hub = file["services"]["hub"]
        self.assertEqual(hub["ports"], [f"127.0.0.1:{self.port}:{self.port}"])
        self.assertEqual((hub["user"], hub["read_only"]), (f"{self.user}:{self.user}", True))
        self.assertEqual((hub["volumes"], hub["tmpfs"]), ([f"parachute:{self.home}"], ["/tmp"]))
        self.assertEqual(file["volumes"], {"parachute": {"name": "parachute"}})
        self.assertGreater(seconds(hub["stop_grace_period"]), 2 * self.stop_s)
        check = hub["healthcheck"]
        words = ", ".join(f'"{word}"' for word in check["test"][1:])
        self.assertIn(f"--start-period={check['start_period']} --timeout={check['timeout']} "
                      f"CMD [{words}]", self.image)  # fmt: skip

    def test_kubernetes(self) -> None:
        claim, deployment, service = read("kubernetes.yaml")
        spec = deployment["spec"]
        self.assertEqual((spec["replicas"], spec["strategy"]), (1, {"type": "Recreate"}))
        pod = spec["template"]["spec"]
        (hub,) = pod["containers"]
        rights = pod["securityContext"]
        self.assertTrue(rights["runAsNonRoot"] and hub["securityContext"]["readOnlyRootFilesystem"])
        users = [rights[name] for name in ("runAsUser", "runAsGroup", "fsGroup")]
        self.assertEqual(users, [self.user] * 3)
        env = {one["name"]: one["value"] for one in hub["env"]}
        self.assertEqual(env, {"PORT": str(self.port), "PARACHUTE_HOME": self.home})
        self.assertEqual(hub["ports"][0]["containerPort"], self.port)
        self.assertEqual(service["spec"]["ports"][0]["port"], self.port)
        self.assertGreater(pod["terminationGracePeriodSeconds"], 2 * self.stop_s)
        mounts = {one["mountPath"]: one["name"] for one in hub["volumeMounts"]}
        volumes = {one["name"]: one for one in pod["volumes"]}
        found = volumes[mounts[self.home]]["persistentVolumeClaim"]["claimName"]
        self.assertEqual((found, set(mounts)), (claim["metadata"]["name"], {self.home, "/tmp"}))

    def test_kubernetes_restarts_nobody_whom_the_launcher_would_mend(self) -> None:
        pod = read("kubernetes.yaml")[1]["spec"]["template"]["spec"]
        probes = {name: pod["containers"][0][f"{name}Probe"]
                  for name in ("startup", "liveness", "readiness")}  # fmt: skip
        paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
        self.assertEqual(
            paths, {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
        )
        patience = {name: probe["periodSeconds"] * probe["failureThreshold"]
                    for name, probe in probes.items()}  # fmt: skip
        self.assertGreaterEqual(patience["startup"], 120)
        needed = TIMES["watchdog_s"] + TIMES["ready_timeout_s"]
        self.assertGreater(patience["liveness"], needed, "the launcher's own turn comes first")

    def test_fly(self) -> None:
        fly = read("fly.toml")
        (mount,) = fly["mounts"]
        self.assertEqual((mount["destination"], fly["env"]), (self.home, {"PORT": str(self.port)}))
        service = fly["http_service"]
        self.assertEqual((service["internal_port"], fly["kill_signal"]), (self.port, "SIGTERM"))
        self.assertGreater(seconds(fly["kill_timeout"]), 2 * self.stop_s)
        self.assertIn(fly["deploy"]["strategy"], STRATEGIES)
        (check,) = service["checks"]
        self.assertEqual(check["path"], "/health")
        self.assertGreaterEqual(seconds(check["grace_period"]), 120)

    def test_render(self) -> None:
        (hub,) = read("render.yaml")[0]["services"]
        self.assertEqual(hub["disk"]["mountPath"], self.home)
        self.assertEqual((hub["healthCheckPath"], hub["numInstances"]), ("/health", 1))
        self.assertIn({"key": "PORT", "value": str(self.port)}, hub["envVars"])


if __name__ == "__main__":
    unittest.main()

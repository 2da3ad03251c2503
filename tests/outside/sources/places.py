"""A hub installed by bun, npm or pip: the real tool, the real layout, a registry on loopback.

    place = BunPlace(directory)            # an empty directory; the caller removes it
    place.publish("1.0.0")                 # to the registry
    place.install("1.0.0")                 # by the tool itself, as an operator would
    subprocess.Popen(place.program, env={**place.environment, "PORT": "4000"})
    place.publish("1.1.0", behaviour=programs.SICK)
    place.registry.break_down(registry.BUSY)
    place.close()

Each is a `contract.Scene` too, once `os.environ` is `place.environment`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub_upgrade.domain.install import Place
from hub_upgrade.domain.managed import BUN, NPM, PIP, Managed
from hub_upgrade.sources.package import package_source
from tests.outside.sources import programs
from tests.outside.sources.registry import Registry
from tests.outside.sources.snapshot import snapshot

OUTSIDE = Path(os.environ.get("OUTSIDE", ".outside")).resolve() / "sources"
BUN_TOOL = OUTSIDE / "node_modules" / ".bin" / "bun"


class PackagePlace:
    """What is the same for all three. `root` holds everything: a home, the prefix, caches."""

    manager = ""
    package = ""
    integrities = "sha512-"
    own_commands = False
    """Whether each version has a command of its own too. bun leaves the old one's behind."""

    def __init__(self, root: str | Path, registry: Registry | None = None) -> None:
        self.root = Path(root).resolve()
        self.registry = registry or Registry()
        self.home = self.root / "home"
        self.prefix = self.root / "prefix"
        for directory in (self.home, self.root / "tmp", self.prefix):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """What the tools, a helper and the hub's upgrade service find: this registry and no other,
        the tools on the path, nothing of the caller's own settings."""
        tools = [str(BUN_TOOL.parent), *_directories_of("node", "npm", "git")]
        return {
            "PATH": ":".join(dict.fromkeys([*tools, "/usr/local/bin", "/usr/bin", "/bin"])),
            "HOME": str(self.home),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
            **self._settings(),
        }

    @property
    def managed(self) -> Managed:
        """What hub.json says of it."""
        return Managed(source="package", manager=self.manager, package=self.package)

    @property
    def place(self) -> Place:
        """What detection would find."""
        return Place("package", self.manager, self.package, str(self.directory), str(self.prefix))

    @property
    def directory(self) -> Path:
        """The package's own directory."""
        raise NotImplementedError

    @property
    def manifest(self) -> Path:
        """The file that tells the version on the disk."""
        return self.directory / "package.json"

    @property
    def bin(self) -> Path:
        """Where the commands lie."""
        return self.prefix / "bin"

    @property
    def program(self) -> list[str]:
        """What runs the installed hub; it needs `environment` and a PORT."""
        return [*self._interpreter(), str(self.bin / "testhub")]

    def publish(
        self,
        version: str,
        channel: str = "latest",
        behaviour: str = programs.GOOD,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Publish a version that behaves so, and make the channel mean it.

        Every version has a dependency and a file of its own, and a file that all have.
        """
        raise NotImplementedError

    def _commands(self, version: str) -> list[str]:
        return ["testhub", *([f"testhub-{version}"] if self.own_commands else [])]

    def install(self, version: str) -> None:
        """By the tool itself, not by the code under test."""
        self.run(self.install_command(version))

    def install_command(self, version: str) -> list[str]:
        """What an operator types."""
        raise NotImplementedError

    def run(self, argv: list[str]) -> str:
        """Run a tool here; what it printed. Raises where it fails."""
        done = subprocess.run(
            argv,
            env=self.environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{argv} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def make_source(self) -> Any:
        """A new source for this installation."""
        return package_source(self.place, self.managed)

    def tree(self, *without: str) -> bytes:
        """All that is installed, to the byte; without what Python compiles for itself."""
        return snapshot(str(self.prefix), ("__pycache__", *without))

    def installed(self) -> str:
        """The version that lies there, as its own file tells it."""
        if self.manifest.name == "package.json":
            return str(json.loads(self.manifest.read_bytes())["version"])
        line = next(one for one in self.manifest.open() if one.startswith("Version:"))
        return line.split()[1]

    def break_down(self, fault: str) -> None:
        """The registry does this from now on: one of registry.FAULTS."""
        self.registry.break_down(fault)

    def mend(self) -> None:
        """The registry is well again."""
        self.registry.mend()

    def cut_off(self) -> None:
        """The registry is gone."""
        self.registry.down()

    def close(self) -> None:
        """Stop the registry. The directory is the caller's."""
        self.registry.close()

    def _settings(self) -> dict[str, str]:
        raise NotImplementedError

    def _interpreter(self) -> list[str]:
        raise NotImplementedError


class _NodePlace(PackagePlace):
    package = "@openparachute/hub"

    def publish(
        self,
        version: str,
        channel: str = "latest",
        behaviour: str = programs.GOOD,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        leaf = {"index.js": f"module.exports = '{version}';\n".encode()}
        self.registry.publish_npm("test-leaf", version, leaf, channel)
        content = {
            "bin/cli.js": b'#!/usr/bin/env node\nrequire("../hub.js");\n',
            "hub.js": programs.JAVASCRIPT,
            "behaviour.txt": behaviour.encode(),
            "notes/all.txt": version.encode() * 1000,
            f"notes/{version}.txt": b"of this version alone\n",
            **(files or {}),
        }
        commands = dict.fromkeys(self._commands(version), "bin/cli.js")
        more = {"bin": commands, "dependencies": {"test-leaf": version}}
        self.registry.publish_npm(self.package, version, content, channel, **more)


class BunPlace(_NodePlace):
    """`bun add -g`: BUN_INSTALL is `prefix`."""

    manager = BUN

    @property
    def directory(self) -> Path:
        return self.prefix / "install" / "global" / "node_modules" / self.package

    def install_command(self, version: str) -> list[str]:
        return [str(BUN_TOOL), "add", "-g", f"{self.package}@{version}"]

    def tree(self, *without: str) -> bytes:
        return super().tree("cache", *without)

    def _settings(self) -> dict[str, str]:
        url = self.registry.npm_url
        return {"BUN_INSTALL": str(self.prefix), "BUN_CONFIG_REGISTRY": url}

    def _interpreter(self) -> list[str]:
        return [str(BUN_TOOL)]


class NpmPlace(_NodePlace):
    """`npm install -g`: `prefix` is npm's."""

    manager = NPM

    @property
    def directory(self) -> Path:
        return self.prefix / "lib" / "node_modules" / self.package

    def install_command(self, version: str) -> list[str]:
        return ["npm", "install", "-g", f"{self.package}@{version}"]

    def _settings(self) -> dict[str, str]:
        return {
            "npm_config_registry": self.registry.npm_url,
            "npm_config_prefix": str(self.prefix),
            "npm_config_update_notifier": "false",
            # The tool's own patience, which nobody tests here, is a minute and a half.
            "npm_config_fetch_retry_mintimeout": "50",
            "npm_config_fetch_retry_maxtimeout": "100",
        }

    def _interpreter(self) -> list[str]:
        return [shutil.which("node", path=self.environment["PATH"]) or "node"]


class PipPlace(PackagePlace):
    """`pip install` into a virtual environment, which is `prefix`."""

    manager = PIP
    package = "parachute-test-hub"
    integrities = "sha256="

    def __init__(self, root: str | Path, registry: Registry | None = None) -> None:
        super().__init__(root, registry)
        self.run([sys.executable, "-m", "venv", "--without-pip", str(self.prefix)])
        for found in OUTSIDE.glob("venv/lib/python*/site-packages/pip*"):
            shutil.copytree(found, self.site_packages / found.name)

    @property
    def site_packages(self) -> Path:
        """Where the packages of the environment lie."""
        python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return self.prefix / "lib" / python / "site-packages"

    @property
    def directory(self) -> Path:
        return self.site_packages / "parachute_test_hub"

    @property
    def manifest(self) -> Path:
        return next(self.site_packages.glob("parachute_test_hub-*.dist-info")) / "METADATA"

    def publish(
        self,
        version: str,
        channel: str = "latest",
        behaviour: str = programs.GOOD,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        pinned = version.replace("-rc.", "rc")
        leaf = {"test_leaf.py": f"VERSION = '{version}'\n".encode()}
        self.registry.publish_pip("test-leaf", pinned, leaf)
        stem = "parachute_test_hub"
        content = {
            f"{stem}/__init__.py": programs.PYTHON,
            f"{stem}/behaviour.txt": behaviour.encode(),
            f"{stem}/notes/all.txt": version.encode() * 1000,
            f"{stem}/notes/{version}.txt": b"of this version alone\n",
            f"{stem}-{pinned}.data/scripts/testhub-shell": b"#!/bin/sh\n# " + version.encode(),
            **(files or {}),
        }
        commands = "\n".join(f"{command} = {stem}:main" for command in self._commands(version))
        self.registry.publish_pip(
            self.package,
            pinned,
            content,
            console_scripts=commands,
            requires_dist=f"test-leaf=={pinned}",
        )

    def install_command(self, version: str) -> list[str]:
        wanted = f"{self.package}=={version}"
        return [str(self.bin / "python"), "-m", "pip", "install", "--quiet", wanted]

    def _settings(self) -> dict[str, str]:
        return {
            "PIP_INDEX_URL": self.registry.pip_url,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_RETRIES": "1",
        }

    def _interpreter(self) -> list[str]:
        return [str(self.bin / "python")]


PLACES = (BunPlace, NpmPlace, PipPlace)


def _directories_of(*tools: str) -> list[str]:
    found = (shutil.which(tool) for tool in tools)
    return [os.path.dirname(path) for path in found if path]

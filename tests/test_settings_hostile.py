"""`hub.json` of the worst kind: each key says what is wrong, and what is left can be passed on."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub_upgrade.domain.managed import _CHECKS, Managed
from hub_upgrade.host import processes
from hub_upgrade.host.files import Home
from hub_upgrade.settings import KNOWN_KEYS, Settings, load

SURROGATE, NUL, LONG = "/\ud800", "/a\0b", "/" + "x" * 200_000
DEEP: Any = "x"
for _ in range(300):
    DEEP = [DEEP]
NO_TEXTS: tuple[Any, ...] = (
    SURROGATE,
    NUL,
    LONG,
    7,
    10**400,
    True,
    [],
    {},
    DEEP,
    float("nan"),
    float("inf"),
    "",
)
NO_LISTS: tuple[Any, ...] = (
    [SURROGATE],
    [NUL],
    [LONG],
    ["x", 7],
    [DEEP],
    "x",
    7,
    True,
    {"x": 1},
    ["x" * 99] * 999,
)
NO_TIMES: tuple[Any, ...] = (
    SURROGATE,
    "5",
    -1,
    0,
    86_401,
    10**400,
    True,
    [],
    DEEP,
    float("nan"),
    float("inf"),
)
NO_NAMES = (*NO_TEXTS, "a\n", "a b", "../a", "-a")
NO_URLS = (
    *NO_TEXTS, "http://127.0.0.1:0009999900/", "http://127.0.0.1:000080/", "http://127.0.0.1:0/",
    "http://127.0.0.1:" + "9" * 900, "http://127.0.0.1:-1/", "http://127.0.0.1:٨٠/",
    "http://127.0.0.1/a\nb", "http://127.0.0.1/\ud800", "http://127.0.0.1:7\ud800/",
)  # fmt: skip
WRONG: dict[str, tuple[Any, ...]] = {
    "releases": (*NO_TEXTS, "https://example.org"),
    "allowed_hosts": (*NO_LISTS[:-1], ["x" * 256]),
    "home_persists": NO_TEXTS[:5] + NO_TEXTS[6:],
    "tries": NO_TIMES,
    "before_upgrade": NO_LISTS,
    "after_rollback": NO_LISTS,
    "on_finish": NO_LISTS,
    "hook_timeout_s": NO_TIMES,
    "ready_timeout_s": NO_TIMES,
    "probation_s": NO_TIMES,
    "probation_max_s": NO_TIMES,
    "drain_s": NO_TIMES,
    "stop_s": NO_TIMES,
    "watchdog_s": (*NO_TIMES, 0.1, 4),
    "hub": (SURROGATE, 7, True, [], DEEP, float("nan")),
}
WRONG_OF_HUB: dict[str, tuple[Any, ...]] = {
    "source": NO_NAMES,
    "manager": NO_NAMES,
    "package": NO_NAMES,
    "install_dir": (*NO_TEXTS, "relative"),
    "running_from": (*NO_TEXTS, "relative"),
    "install_command": NO_LISTS,
    "health_url": NO_URLS,
    "version_field": NO_TEXTS,
    "verify_signature": NO_TEXTS[:5] + NO_TEXTS[6:],
    "unit": NO_NAMES,
    "label": NO_NAMES,
    "restart": NO_NAMES,
}


def texts(value: object) -> Iterator[str]:
    """Every text in the settings, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from texts(part)


class HostileTest(unittest.TestCase):
    def setUp(self) -> None:
        self.home = Home(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home.root)
        self.defaults = self.load({})

    def load(self, config: Any) -> Settings:
        Path(self.home.hub_json).write_text(json.dumps(config))
        return load({"config-dir": self.home.root}, {})

    def test_every_wrong_value_of_every_key_is_named_and_defaulted(self) -> None:
        self.assertEqual(set(WRONG), KNOWN_KEYS)
        for key, values in WRONG.items():
            for value in values:
                found = self.load({key: value})
                problem = found.config_error or ""
                self.assertIn(f"hub.json: {key} must ", problem.replace(" is '", " must '"), value)
                self.assertLess(len(problem), 500)
                self.assertEqual(found._replace(config_error=None), self.defaults, (key, value))

    def test_so_is_what_is_said_of_another_programs_hub(self) -> None:
        self.assertEqual(set(WRONG_OF_HUB), set(_CHECKS))
        for key, values in WRONG_OF_HUB.items():
            for value in values:
                found = self.load({"hub": {key: value}})
                self.assertIn(f"hub.json: hub.{key} must be ", found.config_error or "", value)
                self.assertEqual(found.hub, Managed(), (key, value))
                self.assertLess(found.hub.address[1] if found.hub else 0, 65536)

    def test_the_longest_that_is_taken_can_be_given_to_a_program(self) -> None:
        path = "/\udcff" + "é" * 2046  # its first byte is no UTF-8 (os.fsdecode)
        words = ["x" * 4096] * 16
        config = {
            "releases": path, "before_upgrade": words, "after_rollback": words, "on_finish": words,
            "hub": {"install_dir": path, "running_from": path, "install_command": words},
        }  # fmt: skip
        found = self.load(config)
        self.assertIsNone(found.config_error)
        self.assertEqual((found.releases, found.on_finish), (path, tuple(words)))
        given = list(texts(found))
        self.assertGreater(len(given), 60)
        argv = [sys.executable, "-I", "-S", "-c", "", *given]
        pid = processes.spawn(argv, {f"V{n}": text for n, text in enumerate(given)}, {})
        self.assertEqual(os.waitpid(pid, 0)[1], 0)


if __name__ == "__main__":
    unittest.main()

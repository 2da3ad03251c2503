"""Who restarts a managed hub, as a table of what is seen."""

from __future__ import annotations

import unittest
from typing import Any

from hub_upgrade.domain.managed import Managed, parse
from hub_upgrade.domain.restart import (
    EXIT,
    LAUNCHD,
    NONE,
    SYSTEM,
    SYSTEMD,
    USER,
    Choice,
    RestartFacts,
    choose,
    evidence_of,
    from_word,
    word_of,
)

UNIT = "parachute-hub.service"
LABEL = "computer.parachute.hub"
ROOT = {"pid": 7, "uid": 0, "booted": True}
ME = {"pid": 7, "uid": 501, "booted": True}
MAC = {"pid": 7, "uid": 501, "darwin": True}
HERE, MINE = (SYSTEM, UNIT), (USER, UNIT)
IN_UNIT = {"service": UNIT, "scope": SYSTEM}
IN_MINE = {"service": UNIT, "scope": USER}

ROWS: tuple[tuple[str, dict[str, Any], dict[str, Any], tuple[str, str, str]], ...] = (
    ("in the usual unit", {}, {**ROOT, **IN_UNIT, "units": (HERE,)}, (SYSTEMD, SYSTEM, UNIT)),
    ("in the user's", {}, {**ME, **IN_MINE, "units": (MINE,)}, (SYSTEMD, USER, UNIT)),
    ("the system's, by no root", {}, {**ME, **IN_UNIT, "units": (HERE,)}, (SYSTEMD, SYSTEM, UNIT)),
    ("two of that name, in the other one", {},
     {**ROOT, **IN_MINE, "units": (HERE, MINE)}, (SYSTEMD, USER, UNIT)),
    ("its manager does not know it any more", {}, {**ROOT, **IN_UNIT}, (SYSTEMD, SYSTEM, UNIT)),
    ("the main process of another", {},
     {**ROOT, "service": "bun.service", "scope": SYSTEM, "main": True},
     (SYSTEMD, SYSTEM, "bun.service")),
    ("one of many in another", {}, {**ROOT, "service": "cron.service", "scope": SYSTEM},
     (EXIT, "", "")),
    ("a bare process", {}, ROOT, (EXIT, "", "")),
    ("down, and the unit is there", {}, {**ROOT, "pid": 0, "units": (HERE,)},
     (SYSTEMD, SYSTEM, UNIT)),
    ("down, and two are there", {}, {**ME, "pid": 0, "units": (HERE, MINE)}, (SYSTEMD, USER, UNIT)),
    ("down, and two are there for root", {}, {**ROOT, "pid": 0, "units": (MINE, HERE)},
     (SYSTEMD, SYSTEM, UNIT)),
    ("down, and only the system's is there", {}, {**ME, "pid": 0, "units": (HERE,)},
     (SYSTEMD, SYSTEM, UNIT)),
    ("a container on a machine's control groups", {}, {**ROOT, **IN_UNIT, "booted": False},
     (EXIT, "", "")),
    ("in the unit that is named", {"unit": "bun.service"},
     {**ROOT, "service": "bun.service", "scope": SYSTEM, "units": ((SYSTEM, "bun.service"),)},
     (SYSTEMD, SYSTEM, "bun.service")),
    ("by an alias", {"unit": "hub"},
     {**ROOT, "service": "bun.service", "scope": SYSTEM, "units": ((SYSTEM, "bun.service"),)},
     (SYSTEMD, SYSTEM, "bun.service")),
    ("an instance", {"unit": "hub@blue"},
     {**ROOT, "service": "hub@blue.service", "scope": SYSTEM},
     (SYSTEMD, SYSTEM, "hub@blue.service")),
    ("the one that is named is not there", {"unit": "bun"}, ROOT, (SYSTEMD, SYSTEM, "bun.service")),
    ("nor for a user", {"unit": "bun"}, ME, (SYSTEMD, USER, "bun.service")),
    ("systemd is said, and nothing is there", {"restart": "systemd"}, ROOT,
     (SYSTEMD, SYSTEM, UNIT)),
    ("systemd is said where it does not run", {"restart": "systemd"}, {"pid": 7, "uid": 501},
     (SYSTEMD, USER, UNIT)),
    ("exit is said", {"restart": "exit"}, {**ROOT, **IN_UNIT, "units": (HERE,)}, (EXIT, "", "")),
    ("container is said", {"restart": "container"}, {**MAC, "domain": "gui/501"}, (EXIT, "", "")),
    ("none is said", {"restart": "none"}, {**ROOT, **IN_UNIT, "units": (HERE,)}, (NONE, "", "")),
    ("launchd has it", {}, {**MAC, "domain": "gui/501"}, (LAUNCHD, "gui/501", LABEL)),
    ("launchd has it for all", {"label": "x.hub"}, {**MAC, "domain": "system"},
     (LAUNCHD, "system", "x.hub")),
    ("launchd has it not", {}, MAC, (EXIT, "", "")),
    ("launchd has it not, and it is named", {"label": "x.hub"}, MAC, (LAUNCHD, "gui/501", "x.hub")),
    ("launchd is said for root", {"restart": "launchd"}, {**MAC, "uid": 0},
     (LAUNCHD, "system", LABEL)),
    ("a bare process 1 of another's operation", {}, {"pid": 1, "ours": False}, (EXIT, "", "")),
    ("the same under an init", {}, {"pid": 7, "alone": True, "ours": False}, (EXIT, "", "")),
    ("process 1, and exit is said", {"restart": "exit"}, {"pid": 1}, (EXIT, "", "")),
    ("process 1, and container is said", {"restart": "container"}, {"pid": 1}, (EXIT, "", "")),
)  # fmt: skip

REFUSED: tuple[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]], ...] = (
    ("bare beside the unit", {}, {**ROOT, "units": (HERE,)},
     (f"the unit {UNIT} is installed", "process 7", "in no service", f"systemctl start {UNIT}",
      "hub.restart")),
    ("bare beside the user's unit", {}, {**ME, "units": (MINE,)},
     (f"systemctl --user start {UNIT}",)),
    ("one of many beside the unit", {},
     {**ROOT, "service": "pm2.service", "scope": SYSTEM, "units": (HERE,)}, ("in pm2.service",)),
    ("in the other manager's unit of that name that is named", {"unit": "bun"},
     {**ROOT, "service": UNIT, "scope": SYSTEM, "main": True, "units": ((SYSTEM, "bun.service"),)},
     ("the unit bun.service is installed", f"in {UNIT}", "hub.unit")),
    ("systemd is said, and it is bare", {"restart": "systemd"}, {**ROOT, "units": (HERE,)},
     ("in no service",)),
    ("process 1", {}, {"pid": 1}, ("is process 1 here", 'hub.restart to "exit"')),
    ("under a mere init", {}, {"pid": 7, "alone": True}, ("process 1 waits for", "hub.pyz serve")),
)  # fmt: skip


def managed(said: dict[str, Any]) -> Managed:
    """What hub.json says."""
    found, problems = parse(said)
    assert found is not None and not problems, problems
    return found


class Chosen(unittest.TestCase):
    def test_each_row_of_the_table(self) -> None:
        for what, said, seen, (kind, scope, name) in ROWS:
            found = choose(managed(said), RestartFacts(**seen))
            self.assertEqual((found.kind, found.scope, found.name), (kind, scope, name), what)
            self.assertEqual(found.refused, "", what)
            self.assertTrue(found.why, what)

    def test_what_would_end_badly_is_refused_with_what_to_do_instead(self) -> None:
        for what, said, seen, words in REFUSED:
            found = choose(managed(said), RestartFacts(**seen))
            for word in words:
                self.assertIn(word, found.refused, what)
            self.assertIn("nobody", evidence_of(found), what)

    def test_it_reads_in_the_evidence(self) -> None:
        found = Choice(SYSTEMD, "process 7 is in its control group", UNIT, USER)
        line = f"restarted by: systemd, {UNIT} (user): process 7 is in its control group"
        self.assertEqual(evidence_of(found), line)
        self.assertEqual(evidence_of(Choice(EXIT, "why")), "restarted by: a SIGTERM: why")
        self.assertIn("whoever runs it", evidence_of(Choice(NONE, "why")))

    def test_a_record_brings_the_same_one_back_and_anything_else_is_a_process(self) -> None:
        for choice in (Choice(SYSTEMD, "", UNIT, USER), Choice(LAUNCHD, "", LABEL, "gui/501"),
                       Choice(EXIT, ""), Choice(NONE, "")):  # fmt: skip
            self.assertEqual(from_word(word_of(choice))._replace(why=""), choice)
        for word in ("", "systemd", "systemd user", "systemd  x", "magic user x"):
            self.assertEqual(from_word(word).kind, EXIT, word)


if __name__ == "__main__":
    unittest.main()

"""The units' texts: what stands in which section, and how systemd reads each word of them."""

from __future__ import annotations

import plistlib
import unittest

from hub_upgrade.domain import units
from hub_upgrade.domain.units import Wanted

ODD = "/srv/a b%c$d\"e\\f'g;h#i"
PYTHON = "/usr/bin/python3"
COMMAND = (PYTHON, "-I", "-S", "/usr/local/bin/hub.pyz", "serve", "--config-dir", ODD)
SYSTEM = Wanted("parachute-hub", "parachute", COMMAND, ODD, (), 8.0)
OWN = SYSTEM._replace(user="")
LAUNCHD_KEYS = frozenset(
    {"Label", "Disabled", "UserName", "GroupName", "inetdCompatibility", "LimitLoadToHosts",
     "LimitLoadFromHosts", "LimitLoadToSessionType", "LimitLoadToHardware",
     "LimitLoadFromHardware", "Program", "BundleProgram", "ProgramArguments", "EnableGlobbing",
     "EnableTransactions", "EnablePressuredExit", "OnDemand", "ServiceIPC", "KeepAlive",
     "RunAtLoad", "RootDirectory", "WorkingDirectory", "EnvironmentVariables", "Umask", "TimeOut",
     "ExitTimeOut", "ThrottleInterval", "InitGroups", "WatchPaths", "QueueDirectories",
     "StartOnMount", "StartInterval", "StartCalendarInterval", "StandardInPath",
     "StandardOutPath", "StandardErrorPath", "Debug", "WaitForDebugger", "SoftResourceLimits",
     "HardResourceLimits", "Nice", "ProcessType", "AbandonProcessGroup", "LowPriorityIO",
     "LowPriorityBackgroundIO", "MaterializeDatalessFiles", "LaunchOnlyOnce", "MachServices",
     "Sockets", "LaunchEvents", "HopefullyExitsFirst", "HopefullyExitsLast", "SessionCreate",
     "LegacyTimers", "AssociatedBundleIdentifiers"}
)  # fmt: skip
"""All that launchd.plist(5) of macOS 14 names at its top level."""


def sections(text: str) -> dict[str, dict[str, list[str]]]:
    """Every setting of a unit, in its section."""
    found: dict[str, dict[str, list[str]]] = {}
    here: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            found[line] = here = {}
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            here.setdefault(name, []).append(value)
    return found


def service(wanted: Wanted) -> dict[str, dict[str, list[str]]]:
    return sections(units.files(wanted)["parachute-hub.service"])


class Words(unittest.TestCase):
    """How systemd 252 read them back is what `systemctl show` and the started process told."""

    def test_what_is_plain_stays_as_it_is(self) -> None:
        for plain in ("/usr/local/bin/hub.pyz", "--port", "1939", "/a_b.c-d@e:f"):
            self.assertEqual(units.word(plain), plain)

    def test_a_path_is_one_word_whatever_is_in_it(self) -> None:
        self.assertEqual(units.word("/a b"), '"/a b"')
        self.assertEqual(units.word("/100%"), "/100%%")
        self.assertEqual(units.word("/a\\b"), '"/a\\\\b"')
        self.assertEqual(units.word('/a"b'), '"/a\\"b"')
        self.assertEqual(units.word(ODD), '"/srv/a b%%c$d\\"e\\\\f\'g;h#i"')
        self.assertEqual(units.word(""), '""')

    def test_a_dollar_is_one_in_arguments_and_where_nothing_is_a_variable(self) -> None:
        self.assertEqual(units.command_line(("/a$b", "$HOME", "${X}")), '"/a$b" "$$HOME" "$${X}"')
        self.assertEqual(units.word("/a$b"), '"/a$b"')

    def test_a_name_is_no_path_no_template_and_no_option(self) -> None:
        for good in ("parachute-hub", "a", "hub_2.b", "x" * 100):
            self.assertIsNone(units.name_problem(good), good)
        for bad in ("", "-x", ".x", "a/b", "a@b", "a b", "a%b", "é", "x" * 101, "a\nb"):
            self.assertIsNotNone(units.name_problem(bad), bad)

    def test_what_no_line_can_hold_is_no_path(self) -> None:
        for bad in ("/a\nb", "/a\tb", "/a\0b", "/\udc80"):
            self.assertIsNotNone(units.path_problem(bad))
        self.assertIsNone(units.path_problem(ODD + "é"))


class Services(unittest.TestCase):
    def test_each_setting_stands_where_systemd_reads_it(self) -> None:
        found = service(SYSTEM)
        self.assertEqual(list(found), ["[Unit]", "[Service]", "[Install]"])
        unit, run = found["[Unit]"], found["[Service]"]
        self.assertEqual(unit["RequiresMountsFor"], [units.word(ODD)])
        for name in ("StartLimitIntervalSec", "StartLimitBurst"):
            self.assertIn(name, unit)
        wanted = {
            "Type": "notify", "NotifyAccess": "main", "User": "parachute", "KillMode": "mixed",
            "Restart": "always", "TimeoutStopSec": "20", "OOMPolicy": "continue",
            "EnvironmentFile": "-/etc/default/parachute-hub", "SystemCallErrorNumber": "EPERM",
            "ExecStart": units.command_line(COMMAND), "ReadWritePaths": f"-{units.word(ODD)}",
        }  # fmt: skip
        self.assertEqual({name: run[name] for name in wanted}, {k: [v] for k, v in wanted.items()})
        self.assertGreater(int(run["WatchdogSec"][0]), 0)
        self.assertEqual(found["[Install]"], {"WantedBy": ["multi-user.target"]})

    def test_the_start_limit_can_be_reached_and_ends_a_service_that_never_starts(self) -> None:
        found = service(SYSTEM)
        burst = int(found["[Unit]"]["StartLimitBurst"][0])
        seconds = int(found["[Unit]"]["StartLimitIntervalSec"][0])
        self.assertLess(burst * (int(found["[Service]"]["RestartSec"][0]) + 1), seconds)

    def test_nothing_breaks_a_jit_hides_process_1_or_makes_home_read_only(self) -> None:
        for wanted in (SYSTEM, OWN):
            run = service(wanted)["[Service]"]
            for name in ("MemoryDenyWriteExecute", "ProtectProc", "ProcSubset", "PrivateNetwork"):
                self.assertNotIn(name, run)

    def test_a_stop_has_more_time_than_the_hub_takes(self) -> None:
        for stop_s in (2.5, 8.0, 600.0):
            run = service(SYSTEM._replace(stop_s=stop_s))["[Service]"]
            self.assertGreater(int(run["TimeoutStopSec"][0]), stop_s + 1)

    def test_what_may_be_written_is_home_and_what_was_named(self) -> None:
        run = service(SYSTEM._replace(home="/h", writable=("/a b", "/c")))["[Service]"]
        self.assertEqual(run["ReadWritePaths"], ['-/h -"/a b" -/c'])

    def test_nobody_has_a_capability_but_root_the_one_to_see_its_own_processes(self) -> None:
        for user, allowed in (("parachute", ""), ("root", "CAP_SYS_PTRACE")):
            run = service(SYSTEM._replace(user=user))["[Service]"]
            self.assertEqual(run["CapabilityBoundingSet"], [allowed])

    def test_an_address_that_the_network_brings_is_waited_for_where_one_can(self) -> None:
        late = service(SYSTEM._replace(online=True))["[Unit]"]
        self.assertEqual(late["Wants"], ["network-online.target"])
        self.assertEqual(late["After"], ["network.target", "network-online.target"])
        for wanted in (SYSTEM, OWN._replace(online=True)):
            self.assertNotIn("network-online", units.files(wanted)["parachute-hub.service"])

    def test_a_tmp_of_its_own_would_hide_what_lies_in_tmp(self) -> None:
        plain = SYSTEM._replace(home="/h", command=COMMAND[:-1])
        self.assertEqual(service(plain)["[Service]"]["PrivateTmp"], ["yes"])
        for changes in (
            {"home": "/tmp/h"}, {"writable": ("/var/tmp/x",)},
            {"command": (*plain.command, "/tmp/releases")},
        ):  # fmt: skip
            run = service(plain._replace(**changes))["[Service]"]
            self.assertEqual(run["PrivateTmp"], ["no"], changes)

    def test_a_users_own_has_only_what_a_users_manager_can_do(self) -> None:
        found = service(OWN)
        self.assertEqual(found["[Install]"], {"WantedBy": ["default.target"]})
        self.assertNotIn("After", found["[Unit]"])
        run = found["[Service]"]
        self.assertEqual(run["EnvironmentFile"], ["-%h/.config/parachute-hub.env"])
        self.assertEqual(run["NoNewPrivileges"], ["yes"])
        mounts = [one for one in run if one.startswith(("Protect", "Private", "ReadWrite"))]
        self.assertEqual(mounts + [one for one in run if one in ("User", "CapabilityBoundingSet")],
                         [])  # fmt: skip

    def test_a_socket_is_there_before_its_service_and_both_are_known_as_ours(self) -> None:
        texts = units.files(SYSTEM._replace(socket="[::]:1939"))
        self.assertEqual(list(texts), ["parachute-hub.service", "parachute-hub.socket"])
        unit = sections(texts["parachute-hub.service"])["[Unit]"]
        self.assertEqual(unit["Requires"], ["parachute-hub.socket"])
        self.assertIn("parachute-hub.socket", unit["After"])
        found = sections(texts["parachute-hub.socket"])
        self.assertEqual(found["[Socket]"]["ListenStream"], ["[::]:1939"])
        self.assertEqual(found["[Socket]"]["FileDescriptorName"], ["http"])
        self.assertEqual(found["[Socket]"]["FreeBind"], ["yes"])
        self.assertEqual(found["[Install]"], {"WantedBy": ["sockets.target"]})
        for text in texts.values():
            self.assertIn(units.MARK, text.partition("\n")[0])


class PropertyLists(unittest.TestCase):
    def job(self, wanted: Wanted) -> dict[str, object]:
        text = units.property_list(wanted, "/Users/you/Library/Logs/x.log", "/Users/you")
        self.assertIn(units.MARK.encode(), text[:1000])
        found = plistlib.loads(text)
        assert isinstance(found, dict)
        return found

    def test_it_has_keys_of_launchd_alone_and_runs_always(self) -> None:
        for wanted in (SYSTEM, OWN):
            job = self.job(wanted)
            self.assertEqual(set(), set(job) - LAUNCHD_KEYS)
            self.assertEqual(job["ProgramArguments"], list(COMMAND))
            self.assertIs(job["KeepAlive"], True)
            self.assertIs(job["RunAtLoad"], True)
            self.assertEqual(job["StandardOutPath"], job["StandardErrorPath"])
            self.assertEqual(job["ExitTimeOut"], 20)
            self.assertEqual(job.get("UserName", ""), wanted.user)

    def test_each_name_has_its_label(self) -> None:
        self.assertEqual(units.label("parachute-hub"), "computer.parachute.hub")
        self.assertEqual(units.label("two"), "computer.parachute.hub.two")
        self.assertEqual(self.job(OWN._replace(name="two"))["Label"], "computer.parachute.hub.two")


if __name__ == "__main__":
    unittest.main()

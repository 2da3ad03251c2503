"""The keys of launchd.plist(5) and the kind of value that each takes.

From the manual page as Apple published it with launchd 842 (openlaunchd,
https://github.com/freebsd/openlaunchd/blob/master/man/launchd.plist.5), and, for what came later,
from the option types that nix-darwin derives from the page of today
(https://github.com/nix-community/home-manager/blob/master/modules/launchd/launchd.nix). launchd
passes over a key that it does not know without a word: a misspelt one would do nothing.
"""

from __future__ import annotations

Kinds = tuple[type, ...]

TEXTS: Kinds = (list,)
"""An array of strings."""
KEYS: dict[str, Kinds] = {
    **dict.fromkeys(
        ("Label", "UserName", "GroupName", "Program", "RootDirectory", "WorkingDirectory",
         "StandardInPath", "StandardOutPath", "StandardErrorPath", "ProcessType"), (str,),
    ),
    **dict.fromkeys(
        ("Disabled", "EnableGlobbing", "EnableTransactions", "OnDemand", "RunAtLoad", "InitGroups",
         "StartOnMount", "Debug", "WaitForDebugger", "LegacyTimers", "AbandonProcessGroup",
         "LowPriorityIO", "LowPriorityBackgroundIO", "LaunchOnlyOnce", "ServiceIPC",
         "SessionCreate"), (bool,),
    ),
    **dict.fromkeys(
        ("Umask", "TimeOut", "ExitTimeOut", "ThrottleInterval", "StartInterval", "Nice"), (int,),
    ),
    **dict.fromkeys(
        ("LimitLoadToHosts", "LimitLoadFromHosts", "ProgramArguments", "WatchPaths",
         "QueueDirectories"), TEXTS,
    ),
    **dict.fromkeys(
        ("inetdCompatibility", "EnvironmentVariables", "SoftResourceLimits", "HardResourceLimits",
         "MachServices", "LaunchEvents", "Sockets"), (dict,),
    ),
    "KeepAlive": (bool, dict),
    "LimitLoadToSessionType": (str, list),
    "StartCalendarInterval": (dict, list),
}  # fmt: skip


def problems(job: dict[str, object]) -> list[str]:
    """What launchd would not take, or pass over."""
    found = []
    for key, value in job.items():
        if key not in KEYS:
            found.append(f"{key} is no key of launchd's")
        elif type(value) not in KEYS[key]:
            found.append(f"{key} cannot be {value!r}")
        elif isinstance(value, list) and KEYS[key] == TEXTS:
            found += [f"{key} holds {one!r}" for one in value if not isinstance(one, str)]
    if not isinstance(job.get("Label"), str):
        found.append("there is no Label")
    if not {"Program", "ProgramArguments"} & set(job):
        found.append("there is nothing to be run")
    return found

"""What keeps hub.pyz alive, as text: systemd's units (systemd.syntax(7)) and launchd's property
list (launchd.plist(5)). Pure."""

from __future__ import annotations

import plistlib

from hub_upgrade.domain.managed import SERVICE as SUFFIX
from hub_upgrade.domain.restart import LABEL, UNIT
from hub_upgrade.shapes import Any, NamedTuple

DEFAULT_NAME = UNIT[: -len(SUFFIX)]
LONGEST_NAME = 100
MARK = "Written by hub.pyz unit install"
"""By this in its first lines a file is known as ours."""
PRIVATE = ("/tmp/", "/var/tmp/")  # noqa: S108 - compared, nothing is made there
STOP_MARGIN_S = 12
_IN_NAMES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")

SERVICE = """\
# {mark}: change it by `{edit}`, not here.
[Unit]
Description=Parachute hub ({name})
{after}RequiresMountsFor={home}
StartLimitIntervalSec=120
StartLimitBurst=20

[Service]
Type=notify
NotifyAccess=main
{user}EnvironmentFile=-{environment}
ExecStart={command}
SyslogIdentifier={name}
Restart=always
RestartSec=2
WatchdogSec=30
KillMode=mixed
TimeoutStopSec={stop}
OOMPolicy=continue

{sandbox}
[Install]
WantedBy={target}.target
"""
SECCOMP = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service @pkey seccomp
SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM
"""
"""What any user's manager can do: filters of system calls. Memory may be written and executed, as
compilers at run time need it."""
SANDBOX = """\
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
PrivateTmp={private}
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
CapabilityBoundingSet={capabilities}
"""
"""What takes root to set up. Other processes stay visible: that process 1 is an init tells a
machine from a container."""
SOCKET = """\
# {mark}: change it by `{edit}`, not here.
[Unit]
Description=The socket of the Parachute hub ({name})

[Socket]
ListenStream={address}
FileDescriptorName=http
BindIPv6Only=both
FreeBind=yes

[Install]
WantedBy=sockets.target
"""


class Wanted(NamedTuple):
    """What is to be kept alive: `command` is the whole argument list; `user` is empty for a unit
    of a user's own manager; `online`: the address to listen on is one of some network's."""

    name: str
    user: str
    command: tuple[str, ...]
    home: str
    writable: tuple[str, ...]
    stop_s: float
    socket: str = ""
    online: bool = False


def name_problem(name: str) -> str | None:
    """Why this is no name for a unit, or None."""
    if 0 < len(name) <= LONGEST_NAME and _IN_NAMES.issuperset(name) and name[0] not in "-.":
        return None
    return f"must be up to {LONGEST_NAME} letters, digits, '-', '_' or '.', not {name[:100]!r}"


def path_problem(path: str) -> str | None:
    """Why this path cannot stand in a unit, or None."""
    if not path.isprintable():
        return f"{path[:200]!r} has characters that no unit can hold"
    return None


def word(text: str) -> str:
    """One word of a list (Environment=, ReadWritePaths=), taken as it is: quotes and backslashes
    are escaped, and percent signs, which begin specifiers."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = _IN_NAMES.union("/:,=+@%").issuperset(text)
    return text if plain and text else f'"{text}"'


def command_line(argv: tuple[str, ...]) -> str:
    """ExecStart=: words in which, but for the program's own path, a dollar begins a variable."""
    program, *arguments = argv
    return " ".join([word(program), *(word(one.replace("$", "$$")) for one in arguments)])


def files(wanted: Wanted) -> dict[str, str]:
    """The unit files by their names."""
    service = f"{wanted.name}.service"
    texts = {service: _service(wanted)}
    if wanted.socket:
        socket = f"{wanted.name}.socket"
        mine = "" if wanted.user else "--user "
        edit = f"systemctl {mine}edit {socket}"
        texts[socket] = SOCKET.format(mark=MARK, edit=edit, name=wanted.name, address=wanted.socket)
    return texts


def _service(wanted: Wanted) -> str:
    system = bool(wanted.user)
    after = "After=network.target\n" if system else ""
    if system and wanted.online:  # a user's manager knows of no such target
        after += "Wants=network-online.target\nAfter=network-online.target\n"
    if wanted.socket:
        after += f"Requires={wanted.name}.socket\nAfter={wanted.name}.socket\n"
    return SERVICE.format(
        mark=MARK,
        edit=f"systemctl {'' if system else '--user '}edit {wanted.name}",
        name=wanted.name,
        after=after,
        home=word(wanted.home),
        user=f"User={wanted.user}\n" if system else "",
        environment=f"/etc/default/{wanted.name}" if system else f"%h/.config/{wanted.name}.env",
        command=command_line(wanted.command),
        stop=int(wanted.stop_s) + STOP_MARGIN_S,
        sandbox=(_sandbox(wanted) if system else "") + SECCOMP,
        target="multi-user" if system else "default",
    )


def _sandbox(wanted: Wanted) -> str:
    places = (wanted.home, *wanted.writable)
    used = (*places, *wanted.command)
    return SANDBOX.format(
        writable=" ".join("-" + word(place) for place in places),
        # Else it could not tell which of root's processes is the hub that it looks after.
        capabilities="CAP_SYS_PTRACE" if wanted.user == "root" else "",
        private="no" if any(one.startswith(PRIVATE) for one in used) else "yes",
    )


def label(name: str) -> str:
    """launchd's name for it."""
    return LABEL if name == DEFAULT_NAME else f"{LABEL}.{name}"


def property_list(wanted: Wanted, log: str, user_home: str) -> bytes:
    """launchd's job; one with a `user` is for the system's own domain."""
    value: dict[str, Any] = {
        "Label": label(wanted.name),
        "ProgramArguments": list(wanted.command),
        "EnvironmentVariables": {
            "HOME": user_home,
            "PATH": "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        },
        "RunAtLoad": True,
        "KeepAlive": True,
        "ExitTimeOut": int(wanted.stop_s) + STOP_MARGIN_S,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    if wanted.user:
        value["UserName"] = wanted.user
    text = plistlib.dumps(value, sort_keys=False)
    head, body = text.split(b"<plist", 1)
    return head + f"<!-- {MARK} -->\n".encode() + b"<plist" + body

"""Why home is of no use to a launcher, in a sentence that says what would mend it."""

from __future__ import annotations

import errno
import os

from hub_upgrade.domain.container import quoted
from hub_upgrade.host.files import Home

CANNOT_LOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
RIGHTS = (errno.EACCES, errno.EPERM)
USERS = "/etc/passwd"


def why_unusable(home: Home, error: OSError) -> str:
    """The sentence: with owner, user and the chown where that is what is wrong."""
    what = error.strerror or str(error)
    path = error.filename if isinstance(error.filename, str) else home.root
    user = os.geteuid()
    if error.errno in CANNOT_LOCK:
        return f"{home.root} cannot be locked ({what}); use a local file system"
    unseen = _unseen(home.root)
    if unseen == errno.ENOENT:
        make = f"; make it as root with: install -d -m 700 -o {user} {quoted(home.root)}"
        mend = make if error.errno in RIGHTS else ""
        return f"{home.root} cannot be made ({what}; we are {named(user)}){mend}"
    if unseen:
        way = "let this user through the directories above it, or use another --config-dir"
        return f"{home.root} cannot be reached ({what}; we are {named(user)}); {way}"
    owners = _owners((path, os.path.dirname(path), home.root))
    if not owners:
        return f"{path} cannot be used ({what}; we are {named(user)})"
    owner = next((one for one in owners if one != user), user)
    mend = f"; mend it with: chown -R {user} {quoted(home.root)}" if owner != user else ""
    if error.errno not in RIGHTS:
        mend = ""
    whose = f"its owner is {named(owner)}, we are {named(user)}"
    return f"{path} cannot be written ({what}; {whose}){mend}"


def _unseen(path: str) -> int:
    """Why it is not to be seen, an errno: what may not be looked at may be there; 0 if it is."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _owners(paths: tuple[str, ...]) -> list[int]:
    found = []
    for path in paths:
        try:
            found.append(os.stat(path).st_uid)
        except OSError:
            pass
    return found


def named(user: int) -> str:
    """A user by name and number, as far as this machine's own list knows the name: to ask a
    directory service could take longer than a hub may take to serve."""
    try:
        with open(USERS, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if rest.split(":")[1:2] == [str(user)]:
                    return f"{name} ({user})"
    except OSError:
        pass
    return str(user)

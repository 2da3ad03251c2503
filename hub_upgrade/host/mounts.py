"""Which mount a path lies on, by /proc/self/mountinfo (proc(5))."""

from __future__ import annotations

from hub_upgrade.domain.install import Mount
from hub_upgrade.shapes import NamedTuple

MOUNTINFO = "/proc/self/mountinfo"
OCTAL_DIGITS = frozenset(b"01234567")


class Line(NamedTuple):
    """A line of the list: the mount, and by which it hangs in the tree of mounts."""

    number: bytes
    parent: bytes
    mount: Mount


def read() -> bytes:
    """The list of the mounts that this process sees; raises OSError."""
    with open(MOUNTINFO, "rb") as file:
        return file.read()


def covering(mountinfo: bytes, path: str) -> Mount | None:
    """The mount that a real path (no links in it, there or not) lies on; None for none.

    Found as the kernel finds it: from the root down the tree of mounts. The order of the list
    does not tell: what an initramfs mounted and moved, /run for one, stands before `/`. Raises
    ValueError for what is no such list.
    """
    left = _covering_lines(mountinfo, path)
    numbers = {line.number for line in left}
    found: Line | None = None
    while True:
        over = [line for line in left if _hangs_below(line, found, numbers)]
        if not over:
            return found.mount if found is not None else None
        shortest = min(len(line.mount.point) for line in over)
        found = [line for line in over if len(line.mount.point) == shortest][-1]
        left.remove(found)


def _hangs_below(line: Line, found: Line | None, numbers: set[bytes]) -> bool:
    """Directly; the topmost ones hang below what this process does not see, or themselves."""
    if found is not None:
        return line.parent == found.number
    return line.parent not in numbers or line.parent == line.number


def _covering_lines(mountinfo: bytes, path: str) -> list[Line]:
    found = []
    wanted = path.rstrip("/").encode("utf-8", "surrogateescape") + b"/"
    for line in mountinfo.split(b"\n"):
        if line:
            point = _plain(line.split(b" ", 5)[4:5])
            if wanted.startswith(point.rstrip(b"/") + b"/"):  # the others are not looked into
                found.append(_parse(line))
    return found


def _parse(line: bytes) -> Line:
    head, dash, tail = line.partition(b" - ")
    fields, rest = head.split(b" "), tail.split(b" ")
    if not dash or len(fields) < 6 or len(rest) < 3:  # an empty source still has its two spaces
        raise ValueError("a line of mountinfo that is none")
    options = rest[2].split(b",")
    upper = next((one[9:] for one in options if one.startswith(b"upperdir=")), b"")
    mount = Mount(
        point=_text(_plain(fields[4:5])),
        root=_text(_plain(fields[3:4])),
        kind=_text(rest[0]),
        source=_text(_plain(rest[1:2])),
        read_only=b"ro" in options or b"ro" in fields[5].split(b","),
        upper=_text(_plain([upper])),
    )
    return Line(fields[0], fields[1], mount)


def _plain(field: list[bytes]) -> bytes:
    """A field without its escapes: blanks, backslashes and the like are three octal digits."""
    if not field:
        raise ValueError("a line of mountinfo that is none")
    first, *pieces = field[0].split(b"\\")
    for piece in pieces:
        digits = piece[:3]
        if len(digits) < 3 or not OCTAL_DIGITS.issuperset(digits) or digits > b"377":
            raise ValueError("an escape in mountinfo that is none")
        first += bytes([int(digits, 8)]) + piece[3:]
    return first


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")

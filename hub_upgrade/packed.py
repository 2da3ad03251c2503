"""Modules packed together: half of what a member each would take, and read in one go.

The modules of a group lie in one member of the archive, `hub_upgrade/GROUP.source`: text after
text, each below a line that begins with a form feed and names its file. `hub_upgrade/GROUP.code`
beside it is the magic number of the Python that compiled them and a marshalled mapping: module ->
(whether it is a package, its code, marshalled). In the first group the empty name stands for a
mapping module -> group, over all of them. Another Python passes over the code and looks through
the sources, group after group.
"""

from __future__ import annotations

import marshal
import os
import sys
from _collections_abc import Callable  # what collections.abc has, without collections
from _frozen_importlib_external import MAGIC_NUMBER
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "hub_upgrade"
FIRST = "first"
"""The group that every command needs."""
REST = "rest"
"""The group of what no request and no start waits for: it has no code."""
GROUPS = (FIRST, "helper", "serve", "run", REST)
CODE = ".code"
SOURCE = ".source"
HEADING = b"\f# "


def texts(data: bytes) -> dict[str, tuple[bool, bytes]]:
    """What a member of sources holds: module -> (whether it is a package, its text)."""
    found = {}
    for part in data.split(HEADING)[1:]:
        path, _, text = part.partition(b"\n")
        name = path.decode()[: -len(".py")].replace("/", ".")
        package = name.endswith(".__init__")
        found[name[: -len(".__init__")] if package else name] = (package, text)
    return found


class Finder:
    """Finds a module in its group: importlib's meta path finder and loader in one."""

    def __init__(self, archive: str, read: Callable[[str], bytes]) -> None:
        self._archive = archive
        self._read = read
        self._members: dict[str, dict[str, tuple[bool, bytes]]] = {}

    def _path(self, *parts: str) -> str:
        return os.sep.join((self._archive, *parts))

    def _member(self, name: str) -> dict[str, tuple[bool, bytes]]:
        """What a member holds; nothing where there is none, or another Python compiled it."""
        found = self._members.get(name)
        if found is None:
            try:
                data = self._read(self._path(PACKAGE, name))
            except OSError:
                data = b""
            if name.endswith(SOURCE):
                found = texts(data)
            else:
                mine = data[:4] == MAGIC_NUMBER
                found = marshal.loads(data[4:]) if mine else {}  # noqa: S302 - a part of this file
            self._members[name] = found
        return found

    def _find(self, module: str, kind: str = SOURCE) -> tuple[bool, bytes, str] | None:
        """Whether a module is a package, its code or its text, and which of them that is."""
        groups: dict[str, str] = self._member(FIRST + CODE).get("", {})  # type: ignore[assignment]
        group = groups.get(module)
        if group is not None and kind == CODE and group != REST:
            found = self._member(group + CODE).get(module)
            if found is not None:
                return (*found, CODE)
        for name in GROUPS if group is None else (group,):
            found = self._member(name + SOURCE).get(module)
            if found is not None:
                return (*found, SOURCE)
        return None

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> ModuleSpec | None:
        """The spec of a module of ours; None for every other."""
        found = self._find(name, CODE) if name.startswith(PACKAGE + ".") else None
        if found is None:
            return None
        path = self._path(*name.split("."))
        origin = os.path.join(path, "__init__.py") if found[0] else path + ".py"
        spec = ModuleSpec(name, self, origin=origin, is_package=found[0])  # type: ignore[arg-type]
        spec.has_location = True
        if found[0]:
            spec.submodule_search_locations = [path]
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """The default will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code; raises ImportError when the file is no longer what it was."""
        found = self._find(module.__name__, CODE)
        if found is None:
            raise ImportError(f"{self._archive} has changed", name=module.__name__)
        _package, data, kind = found
        if kind == CODE:
            code = marshal.loads(data)  # noqa: S302 - as above
        else:
            code = compile(data, module.__file__ or "", "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - that is what importing is

    def get_data(self, path: str) -> bytes:
        """A member of the archive, by its path below the archive's; raises OSError."""
        return self._read(path)

    def get_source(self, name: str) -> str | None:
        """The source of a module, for a traceback."""
        found = self._find(name)
        return None if found is None else found[1].decode("utf-8")

    def forget(self) -> None:
        """What is imported is imported: give the memory back."""
        self._members = {}


def install(loader: object) -> None:
    """Look into the groups of this zipimporter's archive before looking into the archive."""
    archive = getattr(loader, "archive", None)
    read = getattr(loader, "get_data", None)
    if archive is not None and read is not None:
        sys.meta_path.insert(0, Finder(archive, read))


def forget() -> None:
    """What most commands need is imported: another module of ours is read again."""
    for finder in sys.meta_path:
        if isinstance(finder, Finder):
            finder.forget()

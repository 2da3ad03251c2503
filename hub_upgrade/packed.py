"""Compiled code packed together: a third smaller than one file each, and read in one go.

A member `hub_upgrade/NAME.code` of the archive is the magic number of the Python that compiled it
and a marshalled mapping: module -> (whether it is a package, its code, marshalled). In the first
group the empty name stands for a mapping module -> group, over all of them. Another Python passes
over them and takes the source, which lies beside, as zipimport finds it.
"""

from __future__ import annotations

import marshal
import os
import sys
from _collections_abc import Callable  # what collections.abc has, without collections
from _frozen_importlib_external import MAGIC_NUMBER
from importlib.machinery import ModuleSpec
from types import ModuleType

FIRST = "first"
"""The group that every command needs."""
PACKAGE = "hub_upgrade"


class Finder:
    """Finds a module in its group: importlib's meta path finder and loader in one."""

    def __init__(self, archive: str, read: Callable[[str], bytes]) -> None:
        self._archive = archive
        self._read = read
        self._found: dict[str, tuple[bool, bytes]] = {}
        self._groups: dict[str, str] = {}
        if self._take(FIRST):
            self._groups = dict(self._found.pop(""))  # type: ignore[arg-type]

    def _path(self, *parts: str) -> str:
        return os.sep.join((self._archive, *parts))

    def _take(self, group: str) -> dict[str, tuple[bool, bytes]]:
        """Take in a group; nothing where there is none, or another Python compiled it."""
        try:
            data = self._read(self._path(PACKAGE, group + ".code"))
        except OSError:
            return {}
        if data[:4] != MAGIC_NUMBER:
            return {}
        self._found.update(marshal.loads(data[4:]))  # noqa: S302 - a part of this very file
        return self._found

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> ModuleSpec | None:
        """The spec of a module of ours; None for every other."""
        group = self._groups.get(name)
        if group is None or not (name in self._found or self._take(group)):
            return None
        package = self._found[name][0]
        spec = ModuleSpec(name, self, origin=self._origin(name), is_package=package)  # type: ignore[arg-type]
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [self._path(*name.split("."))]
        return spec

    def _origin(self, name: str) -> str:
        path = self._path(*name.split("."))
        return os.path.join(path, "__init__.py") if self._found[name][0] else path + ".py"

    def create_module(self, _spec: ModuleSpec) -> None:
        """The default will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        code = marshal.loads(self._found[module.__name__][1])  # noqa: S302 - as above
        exec(code, module.__dict__)  # noqa: S102 - that is what importing is

    def get_data(self, path: str) -> bytes:
        """A member of the archive, by its path below the archive's; raises OSError."""
        return self._read(path)

    def get_source(self, name: str) -> str:
        """The source of a module, for a traceback."""
        path = self._path(*name.split("."))
        try:
            return self.get_data(path + ".py").decode("utf-8")
        except OSError:
            return self.get_data(os.path.join(path, "__init__.py")).decode("utf-8")

    def forget(self) -> None:
        """What is imported is imported: give the memory back."""
        self._found, self._groups = {}, {}


def install(loader: object) -> None:
    """Look into the groups of this zipimporter's archive before looking into the archive."""
    archive = getattr(loader, "archive", None)
    read = getattr(loader, "get_data", None)
    if archive is not None and read is not None:
        sys.meta_path.insert(0, Finder(archive, read))


def forget() -> None:
    """No more of our modules will be imported."""
    for finder in sys.meta_path:
        if isinstance(finder, Finder):
            finder.forget()

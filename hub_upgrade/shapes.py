"""`NamedTuple`, `Protocol` and words for annotations, for what starts often and lives long.

`typing` costs each of them 2 ms and a megabyte, most of it to keep what only a type checker reads.
A checker sees the real ones here.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
"""As in `typing`; a checker takes it for true."""

__all__ = ["IO", "Any", "NamedTuple", "NoReturn", "Optional", "Protocol", "Union"]

if TYPE_CHECKING:
    from typing import IO, Any, NamedTuple, NoReturn, Optional, Protocol, Union
else:

    class _Word:
        def __getitem__(self, _parameters):
            return self

    class _Named(type):
        def __new__(cls, name, _bases, body):
            fields = tuple(body.pop("__annotations__", ()))
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults)  # noqa: PYI024
            for key, value in body.items():
                setattr(made, key, value)
            return made

    class Protocol:
        """As in `typing`."""

    NamedTuple = type.__new__(_Named, "NamedTuple", (), {})
    IO = Any = NoReturn = Optional = Union = _Word()

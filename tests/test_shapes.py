"""What `shapes` does at run time is what `typing` does."""

from __future__ import annotations

import typing
import unittest

from hub_upgrade.shapes import NamedTuple


class Ours(NamedTuple):
    """A record."""

    name: str
    size: int | None = None
    parts: tuple[str, ...] = ()

    @property
    def is_large(self) -> bool:
        return (self.size or 0) > 3

    @classmethod
    def of(cls, name: str) -> Ours:
        return cls(name, 4)


class Theirs(typing.NamedTuple):
    """A record."""

    name: str
    size: int | None = None
    parts: tuple[str, ...] = ()


class NamedTupleTest(unittest.TestCase):
    def test_it_is_the_tuple_that_typing_makes(self) -> None:
        ours, theirs = Ours("a", parts=("b",)), Theirs("a", parts=("b",))
        self.assertEqual(tuple(ours), tuple(theirs))
        self.assertEqual(repr(ours).replace("Ours", "Theirs"), repr(theirs))
        self.assertEqual(Ours._fields, Theirs._fields)
        self.assertEqual(Ours._field_defaults, Theirs._field_defaults)
        self.assertEqual((Ours.__mro__[1:], Ours.__doc__), (Theirs.__mro__[1:], Theirs.__doc__))
        self.assertEqual((Ours.__module__, Ours.__qualname__), (__name__, "Ours"))
        self.assertEqual(ours._replace(size=2), ("a", 2, ("b",)))
        with self.assertRaises(TypeError):
            Ours()  # type: ignore[call-arg]

    def test_it_has_its_own_methods(self) -> None:
        self.assertTrue(Ours.of("a").is_large)
        self.assertFalse(Ours("a").is_large)


if __name__ == "__main__":
    unittest.main()

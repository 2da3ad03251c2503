"""A git checkout, read without git: its root, its directories, its head. Light; never raises."""

from __future__ import annotations


def git_head(directory: str) -> str:
    """The commit that a checkout is on, 40 or 64 hexadecimal digits; "" when that is not told."""
    raise NotImplementedError

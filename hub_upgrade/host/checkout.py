"""A git checkout, read without git: its root, its directories, its head. Never raises."""

from __future__ import annotations

import os

from hub_upgrade.host.reading import text_of

DEEPEST = 5
"""A reference that names a reference: git itself follows no more."""
HASHES = (40, 64)


def root_of(path: str) -> str:
    """The root of the work tree that a real path lies in, or is; "" for none."""
    while True:
        if git_dir(path):
            return path
        above = os.path.dirname(path)
        if above == path:
            return ""
        path = above


def git_dir(root: str) -> str:
    """The directory of git's own for the work tree with this root; "" where it is none.

    A worktree's and a submodule's `.git` is a file that names it.
    """
    found = os.path.join(root, ".git")
    words = text_of(found)
    if words.startswith("gitdir:"):
        found = os.path.join(root, words[len("gitdir:") :].strip())
    return os.path.realpath(found) if os.path.lexists(os.path.join(found, "HEAD")) else ""


def common_dir(own: str) -> str:
    """What a worktree's own directory has in common with the others: objects and branches."""
    return os.path.realpath(os.path.join(own, text_of(os.path.join(own, "commondir")).strip()))


def git_head(directory: str) -> str:
    """The commit that a checkout is on, in hexadecimal; "" when that is not to be told."""
    root = root_of(os.path.realpath(directory))
    return _commit(git_dir(root), "HEAD", DEEPEST) if root else ""


def _commit(own: str, name: str, deep: int) -> str:
    common = common_dir(own)
    text = text_of(os.path.join(own, name)) or text_of(os.path.join(common, name))
    text = text.strip() or _packed(common, name)
    if text.startswith("ref:"):
        name = os.path.normpath(text[len("ref:") :].strip())
        return _commit(own, name, deep - 1) if deep and name.startswith("refs/") else ""
    is_hash = len(text) in HASHES and not text.strip("0123456789abcdef")
    return text if is_hash else ""


def _packed(common: str, name: str) -> str:
    for line in text_of(os.path.join(common, "packed-refs")).splitlines():
        commit, _, named = line.partition(" ")
        if named == name:
            return commit
    return ""

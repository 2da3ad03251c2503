"""What really goes to standard error, as a reader of the log sees it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator


class Captured:
    """`text` is all that came while it was caught; it is there from the end on."""

    text = ""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@contextlib.contextmanager
def stderr() -> Iterator[Captured]:
    """Catch what this process writes to descriptor 2, whoever writes it."""
    caught = Captured()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield caught
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            caught.text = file.read().decode()

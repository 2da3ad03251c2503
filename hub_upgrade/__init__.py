"""A self-upgrade system for a self-hosted service, in one file."""

# Imported before anything else, and plain enough for any Python to parse: an old one is told.
import sys

if sys.version_info < (3, 9):  # noqa: UP036 - whoever comes here with an older one must be told
    sys.exit("hub.pyz needs Python 3.9 or newer, and this is " + sys.version.split()[0])

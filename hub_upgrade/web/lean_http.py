"""`http.server`, imported without what a hub never opens: TLS and archives.

`http.client` loads `ssl` (4 MB of resident memory and 6 ms of 41 on every start: libssl and
libcrypto) only to offer HTTPSConnection, and `shutil` loads the compressors only to unpack
archives; both do without, by design, where the import fails. The hub speaks plain HTTP behind
a proxy and never unpacks anything; what needs TLS runs in a one-shot child.
"""

from __future__ import annotations

import sys

_UNUSED = tuple(
    name for name in ("ssl", "bz2", "lzma", "compression.zstd") if name not in sys.modules
)
for _name in _UNUSED:
    sys.modules[_name] = None  # type: ignore[assignment]  # "this import fails", in so many words
try:
    from http.server import BaseHTTPRequestHandler
finally:
    for _name in _UNUSED:
        del sys.modules[_name]

__all__ = ["BaseHTTPRequestHandler"]

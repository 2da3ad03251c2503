"""What this release is, and which protocols it speaks."""

VERSION = "0.1.0"

LAUNCHER_PROTOCOL = 1
"""The protocol between launcher and hub that this file speaks as either of them."""

NEEDS_LAUNCHER_PROTOCOL = 1
"""The oldest launcher under which this file's hub can run."""

HANDOFF_FORMATS = (1,)
"""The versions of the handoff record that this file's hub can take up."""

HANDOFF_FORMAT = 1
"""The version of the handoff record that this file's hub writes."""

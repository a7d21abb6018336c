"""Owns how a side reads its own memory."""

from __future__ import annotations

import re
from pathlib import Path


def read_memory(name: str) -> int:
    """Bytes that Linux gives for this process: VmRSS is what is in memory now, VmHWM the most that was."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024

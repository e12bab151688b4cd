"""Memory of large images goes back to the system when they are answered."""

import ctypes
import os
from pathlib import Path

_LIBC = ctypes.CDLL(None)


def give_freed_back() -> None:
    """Has glibc give back to the system what is freed; other C libraries are left alone.

    By itself glibc keeps blocks of up to 32 MB in every thread: 16 workers kept hundreds of MB of images that were
    long answered. It takes milliseconds, and is worth it after a large image alone.
    """
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """Memory of this process that is in use; 0 where the system does not tell it as Linux does."""
    try:
        return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0

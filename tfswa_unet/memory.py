"""Memory that stays with the process, because getting it anew is slow."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_pages() -> bool:
    """Tell glibc to keep freed blocks instead of giving them back to the system after every operation.

    Networks free and take hundreds of megabytes a second; on virtual machines fresh pages cost up to a third of the
    time. Peak memory grows by what lies between the blocks in use. Returns whether the setting took.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 512 << 20))
    return all(mallopt(option, value) == 1 for option, value in settings)

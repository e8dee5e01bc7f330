"""How the C library manages memory while a net trains on the CPU."""

import ctypes
import platform

# Parameters of mallopt(3).
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell glibc to keep memory that is freed, and to use it again, until the process ends.

    By default, glibc gives large blocks back to the system, which clears each page again at the next use. Each step
    of a training frees such blocks and needs them again: the gradient of 120,000 word vectors, 31 MB, costs 7,500 page
    faults, up to a fifth of the step. The process needs about a tenth more memory at its peak.

    Returns:
        whether glibc is the C library and did it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))

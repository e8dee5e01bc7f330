import platform
import subprocess
import sys

import pytest

# `bytes` takes its memory from the C library, as torch does, and writes to each page.
FAULTS = """
import resource
from leyden.training.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(b"1" * 30_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = [faults() for _ in range(2)][-1]
assert keep_freed_memory()
print(before, [faults() for _ in range(2)][-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    output = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    before, after = map(int, output.split())
    assert after < before / 10

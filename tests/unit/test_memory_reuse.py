"""Memory that a request frees: it is reused within the request, and given back after it."""

import json
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import numpy
from shared.runtime.memory_reuse import keep_freed_memory, return_freed_memory

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    before = faults()
    for _ in range(10):
        numpy.ones(16_000_000, numpy.float32).sum()
    return faults() - before

at_first, plain = megabytes(), work()
keep_freed_memory()
work()
kept, reused = megabytes(), work()
return_freed_memory()
print(json.dumps([at_first, plain, kept, reused, megabytes()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has such knobs")
def test_what_is_freed_is_reused_until_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    at_first, plain, kept, reused, at_last = json.loads(done.stdout)
    assert reused < plain / 5, "the kernel clears no page again"
    assert kept > at_first + 50
    assert at_last < at_first + 20, "nothing is kept between requests"

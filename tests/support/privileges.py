"""What the tests change of the process for a while: powers of root, the umask, the size that files may have."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION = 0x20080522  # of the structures that capget and capset take, for 64 capabilities
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2  # the powers to pass over a file's permissions


@contextmanager
def permissions_hold() -> Iterator[None]:
    """File permissions bind this thread, and those that it starts, even where root runs the tests (on Linux)."""
    if os.geteuid() != 0:
        yield
        return
    assert sys.platform == "linux", "root cannot give up its powers here: run the tests as another user"
    libc, header, sets = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    before = sets[0]  # the effective ones; the permitted ones stay, so that they can be taken back
    sets[0] = before & ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """New files and folders get the permissions that `mask` leaves."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files of this process can have `size` bytes, as after `ulimit -f`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

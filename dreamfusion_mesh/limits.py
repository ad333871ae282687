"""What the operating system lets this process have (a shell's ulimit)."""

from __future__ import annotations


def file_size_limit() -> int | None:
    """The bytes that a file of this process may have (ulimit -f), None where there is no limit."""
    return _limit("RLIMIT_FSIZE")


def address_space_limit() -> int | None:
    """The bytes that this process may map (ulimit -v), None where there is no limit."""
    return _limit("RLIMIT_AS")


def open_files_limit() -> int | None:
    """The files that this process may have open at once (ulimit -n), None where there is no limit."""
    return _limit("RLIMIT_NOFILE")


def _limit(name: str) -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return None
    limit = resource.getrlimit(getattr(resource, name))[0]
    return None if limit == resource.RLIM_INFINITY else limit

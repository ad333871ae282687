"""A hub's local cache of the tests' own, and models in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def empty_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in the place of the user's own; returns `folder`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def keep(folder: Path, cache: Path, model: str, commit: str = COMMIT) -> Path:
    """A folder's files moved into the cache as the hub's library keeps them: blobs, and a snapshot of links, which is returned."""
    repository = cache / f"models--{model.replace('/', '--')}"
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        blob = repository / "blobs" / file.relative_to(folder).as_posix().replace("/", "-")
        link = repository / "snapshots" / commit / file.relative_to(folder)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit

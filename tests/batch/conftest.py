"""What the tests of batches share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes seconds where it is done hundreds of times."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)

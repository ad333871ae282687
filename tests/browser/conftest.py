"""The browser of this wing."""

from __future__ import annotations

import pytest
from browsers import Browser, installed_browser


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    return installed_browser(monkeypatch)

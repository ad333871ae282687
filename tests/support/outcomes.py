"""Work that came to nothing, and of which kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dreamfusion_mesh.errors import PoorOutcome


@contextmanager
def poor_outcome(kind: str, match: str) -> Iterator[None]:
    """What is done in here has to raise PoorOutcome of this kind, with a message that `match` is found in."""
    with pytest.raises(PoorOutcome, match=match) as caught:
        yield
    assert caught.value.kind == kind

"""Errors as they pass from one process to another."""

import pickle

import pytest

from dreamfusion_mesh.errors import PoorOutcome, RunFailed


@pytest.mark.parametrize("kind", ["empty", "diverged"])
def test_a_poor_outcome_keeps_its_message_and_kind_where_it_is_pickled(kind: str) -> None:
    error = pickle.loads(pickle.dumps(PoorOutcome(kind, "fine: the surface vanished")))
    assert (type(error), error.kind, str(error)) == (PoorOutcome, kind, "fine: the surface vanished")
    assert isinstance(error, RunFailed)

"""Another seed is worth its time only where the result was poor."""

from __future__ import annotations

import pytest

from dreamfusion_mesh.batch.records import Failure, Outcome


@pytest.mark.parametrize(
    ("failure", "audit", "better"),
    [
        ("audit", ("not measured", "fail"), True),
        ("audit", ("not measured", "pass"), False),
        ("empty", (), True),
        ("diverged", (), True),
        ("error", (), False),
        (None, ("pass", "fail"), False),
    ],
)
def test_another_seed_may_mend_a_failed_row_and_not_one_that_is_not_measured(
    failure: Failure | None, audit: tuple[str, ...], better: bool
) -> None:
    assert Outcome(failure, audit=audit).may_do_better is better

"""How measures are written for people."""

import pytest

from dreamfusion_mesh.evaluate.measures import MEASURES, write

KNOWN = {measure.name: measure for measure in MEASURES}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("quality", -0.0004, "+0.0"),
        ("quality", -0.0006, "-0.1"),
        ("fit", -1e-9, "+0.000"),
        ("fit", 0.0006, "+0.001"),
        ("seconds", -0.4, "+0"),
    ],
)
def test_a_difference_that_rounds_to_nothing_has_no_minus(name, value, text):
    assert write(value, KNOWN[name], signed=True) == text

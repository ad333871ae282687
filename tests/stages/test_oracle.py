"""The pipeline against a guidance that is exactly right: what it knows must come out, whatever any model draws.

`python -m tools.oracle` prints what the sweep judges.
"""

from __future__ import annotations

import pytest
from tools.oracle.__main__ import table_line
from tools.oracle.fit import Outcome, fit_shape
from tools.oracle.shapes import BY_NAME

from dreamfusion_mesh.config import load_config

PLACEHOLDER = 1

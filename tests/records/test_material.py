"""A material's maps and factors are checked when it is made."""

from __future__ import annotations

import numpy as np
import pytest

from dreamfusion_mesh.records import Material, TextureMap
from dreamfusion_mesh.records.material import ROLES

COLOR = TextureMap(np.zeros((4, 4, 3), np.uint8), "srgb")
DATA = TextureMap(np.zeros((4, 4, 3), np.uint8), "linear")


def test_maps_come_in_one_order_and_cannot_be_changed() -> None:
    given = {"normal": DATA, "orm": DATA, "base_color": COLOR}
    made = Material(given, 0.5, 0.0)
    assert list(made.maps) == list(ROLES) == ["base_color", "orm", "normal"]
    given.clear()
    assert made.maps["normal"] is DATA
    with pytest.raises(TypeError):
        made.maps["orm"] = COLOR  # type: ignore[index]


@pytest.mark.parametrize(
    ("maps", "problem"),
    [
        ({"orm": DATA}, r"\['orm'\], expected a base_color map"),
        ({"base_color": DATA}, "3 channels in linear, expected 3 in srgb"),
        ({"base_color": COLOR, "normal": COLOR}, r"'normal'\]: 3 channels in srgb, expected 3 in linear"),
        ({"base_color": TextureMap(np.zeros((4, 4, 1), np.uint8), "srgb")}, "1 channels"),
        ({"base_color": COLOR, "height": DATA}, "unknown role 'height', expected one of base_color, orm, normal"),
    ],
)
def test_a_map_that_its_role_does_not_allow_is_refused(maps: dict[str, TextureMap], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Material(maps, 0.5, 0.0)


@pytest.mark.parametrize("factors", [(1.1, 0.0), (0.5, -0.1), (float("nan"), 0.0), (0.5, 0.0, (1.0, 1.0, 2.0)), (0.5, 0.0, (1.0,))])
def test_a_factor_out_of_range_is_refused(factors: tuple) -> None:
    with pytest.raises(ValueError, match="factors"):
        Material({"base_color": COLOR}, *factors)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_a_map_of_other_pixels_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W, C\]"):
        TextureMap(pixels, "srgb")


def test_a_colour_space_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="'sRGB', expected 'srgb' or 'linear'"):
        TextureMap(COLOR.pixels, "sRGB")  # type: ignore[arg-type]

"""An asset within a number of bytes: as large maps as fit, then fewer triangles, then a message that says what is the least."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from assets import asset, picture
from gridded_box import gridded_box

from dreamfusion_mesh.asset.budget import FEWEST_TRIANGLES, Fitted, halved_map, with_halved_maps, within_bytes
from dreamfusion_mesh.asset.export.glb import glb_bytes
from dreamfusion_mesh.errors import RunFailed
from dreamfusion_mesh.records import Asset, Lod, Material, TextureMap

HEAD, PER_TRIANGLE = 3000, 40  # bytes of the made-up file


def textured(side: int, steps: int = 10) -> Asset:
    """12 steps^2 triangles, and three maps of one size."""
    flat = TextureMap(np.full((side, side, 3), (128, 128, 255), dtype=np.uint8), "linear")
    maps = {"base_color": TextureMap(picture(0, side), "srgb"), "orm": TextureMap(picture(1, side), "linear"), "normal": flat}
    return Asset("thing", gridded_box(steps), Material(maps, 1.0, 1.0))


def file_of(given: Asset) -> bytes:
    """As many bytes as texels, and some for each triangle."""
    texels = sum(image.pixels.size for image in given.material.maps.values()) // 3
    return bytes(HEAD + texels + PER_TRIANGLE * len(given.mesh.faces))


def never(triangles: int, size: int) -> Asset:
    raise AssertionError(f"the asset was to be made anew with {triangles} triangles and maps of {size} texels")


def sides(found: Fitted) -> set[int]:
    return {image.pixels.shape[0] for image in found.asset.material.maps.values()}


def test_what_fits_stays_as_it_is() -> None:
    given = textured(256)
    for most in (None, len(file_of(given))):
        found = within_bytes(given, most, file_of, never)
        assert found.asset is given
        assert found.warnings == ()


@pytest.mark.parametrize("side", [256, 128, 64])
def test_all_maps_are_halved_until_the_file_fits_and_no_further_and_charts_laid_out_for_that(side: int) -> None:
    given, anew = textured(512), textured(side)
    most, asked = HEAD + PER_TRIANGLE * 1200 + 3 * side * side, []

    def redo(triangles: int, size: int) -> Asset:
        asked.append((triangles, size))
        return anew

    found = within_bytes(given, most, file_of, redo)
    assert asked == [(1200, side)]
    assert found.asset is anew
    assert found.warnings == (f"mesh.max_bytes: maps of {side} texels instead of 512, to stay within {most} bytes",)


def test_what_is_too_large_once_made_anew_shrinks_on() -> None:
    """Maps made anew may take more bytes than halved ones did."""
    asked = []

    def redo(triangles: int, size: int) -> Asset:
        asked.append(size)
        return textured(size)

    def larger_anew(given: Asset) -> bytes:
        return file_of(given) + bytes(100 * len(asked))

    most = HEAD + PER_TRIANGLE * 1200 + 3 * 256 * 256
    found = within_bytes(textured(512), most, larger_anew, redo)
    assert asked == [256, 128]
    assert sides(found) == {128}


def test_triangles_go_once_the_maps_are_smallest() -> None:
    given, asked = textured(128, steps=20), []

    def redo(triangles: int, size: int) -> Asset:
        asked.append((triangles, size))
        return textured(size, steps=int((triangles / 12) ** 0.5))

    most = HEAD + 3 * 64 * 64 + PER_TRIANGLE * 2000
    found = within_bytes(given, most, file_of, redo)
    assert len(file_of(found.asset)) <= most
    assert max(triangles for triangles, _ in asked) < 4800
    assert {size for _, size in asked} == {64}
    assert 1000 <= len(found.asset.mesh.faces) <= 2000
    assert f"{len(found.asset.mesh.faces)} triangles instead of 4800 and maps of 64 texels instead of 128" in found.warnings[0]


def test_too_few_bytes_for_the_least_are_told_with_what_it_takes() -> None:
    def redo(triangles: int, size: int) -> Asset:
        return textured(size, steps=max(2, int((triangles / 12) ** 0.5)))

    least = HEAD + 3 * 64 * 64 + PER_TRIANGLE * 48
    told = f"mesh.max_bytes: 9000 is too little: 48 triangles and maps of 64 texels take {least} bytes; raise it to at least that"
    with pytest.raises(RunFailed, match=f"^{told}$"):
        within_bytes(textured(128), 9000, file_of, redo)
    assert FEWEST_TRIANGLES == 50


def test_an_asset_that_does_not_get_smaller_is_made_anew_once() -> None:
    given, asked = textured(128), []

    def redo(triangles: int, size: int) -> Asset:
        asked.append((triangles, size))
        return given

    with pytest.raises(RunFailed, match="1200 triangles and maps of 64 texels take 63288 bytes"):
        within_bytes(given, 20_000, file_of, redo)
    assert len(asked) == 1


def test_a_real_file_fits_with_its_levels() -> None:
    given = asset("cube", maps=True)
    large = replace(given, material=textured(512).material)
    found = within_bytes(large, 150_000, glb_bytes, lambda triangles, size: replace(given, material=textured(size).material))
    assert len(glb_bytes(found.asset)) <= 150_000 < len(glb_bytes(replace(large, material=textured(256).material)))
    assert sides(found) == {128}


def test_levels_keep_sharing_the_assets_material() -> None:
    given = textured(128)
    own = textured(64).material
    levels = (Lod(given.mesh, given.material), Lod(given.mesh, own))
    smaller = with_halved_maps(replace(given, lods=levels))
    assert smaller is not None
    assert smaller.lods[0].material is smaller.material
    assert smaller.lods[1].material is own  # already as small as maps get
    assert with_halved_maps(smaller) is None


def test_the_largest_maps_are_halved_first() -> None:
    maps = {**textured(128).material.maps, "base_color": TextureMap(picture(0, 256), "srgb")}
    given = replace(textured(128), material=Material(maps, 1.0, 1.0))
    smaller = with_halved_maps(given)
    assert smaller is not None
    assert {image.pixels.shape[0] for image in smaller.material.maps.values()} == {128}
    assert smaller.material.maps["orm"] is maps["orm"]


def one_texel(role: str, space: str, *corners: tuple[int, int, int]) -> list[int]:
    pixels = np.array(corners, dtype=np.uint8).reshape(2, 2, 3)
    return halved_map(role, TextureMap(pixels, space)).pixels[0, 0].tolist()


def test_base_colour_is_averaged_as_light() -> None:
    """Half of the light is 188 in sRGB, not 128."""
    black, white = (0, 0, 0), (255, 255, 255)
    assert one_texel("base_color", "srgb", black, white, white, black) == [188, 188, 188]
    assert all(one_texel("base_color", "srgb", *[(value, value, value)] * 4) == [value] * 3 for value in range(256))


def test_data_is_averaged_as_it_is() -> None:
    assert one_texel("orm", "linear", (0, 10, 255), (100, 10, 255), (200, 10, 255), (100, 10, 0)) == [100, 10, 191]


def test_normals_are_averaged_and_have_unit_length_again() -> None:
    flat, tilted, back = (128, 128, 255), (218, 128, 218), (37, 128, 218)  # 45 degrees each way along x
    assert one_texel("normal", "linear", flat, flat, flat, flat) == [128, 128, 255]
    assert one_texel("normal", "linear", tilted, tilted, tilted, tilted) == list(tilted)
    assert one_texel("normal", "linear", tilted, back, tilted, back) == [128, 128, 255]


def test_an_odd_size_keeps_its_last_row() -> None:
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    found = halved_map("orm", TextureMap(pixels, "linear")).pixels
    assert found.shape == (2, 2, 3)
    assert found[1, 1].tolist() == pixels[2, 2].tolist()

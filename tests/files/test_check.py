"""What cannot be written is refused before the work, by the same causes as when it is written, and nothing is made for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.files import check_folder, check_target, write_file


@pytest.mark.parametrize("check", [check_folder, check_target])
def test_places_that_may_not_be_entered_or_written_are_named(check, closed: Path, read_only: Path) -> None:
    for path in (closed / "new", closed / "deep" / "new"):
        with pytest.raises(BadInput, match=rf"^here: cannot be written \(you may not enter the folder {closed}\); change its permissions"):
            check(path, "here")
    for path in (read_only / "new", read_only / "deep" / "new"):
        with pytest.raises(BadInput, match=rf"cannot be written \(you may not write in the folder {read_only}\)"):
            check(path)


@pytest.mark.parametrize("check", [check_folder, check_target])
def test_a_name_too_long_is_named_before_the_folders_above_it_are_made(check, tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300), tmp_path / "new" / ("x" * 300) / "y"):
        with pytest.raises(BadInput, match="File name too long: 300 bytes in one of its names"):
            check(path)
    check(tmp_path / "new" / ("x" * 255) / "y")
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_used_are_named(closed: Path, read_only: Path, others: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"may not enter the folder {closed}"):
        check_folder(closed)
    with pytest.raises(BadInput, match=f"may not write in the folder {read_only}"):
        check_folder(read_only)
    for kind in ("pipe", "socket", "device"):
        with pytest.raises(BadInput, match=f"is a {kind}; name a folder"):
            check_folder(others[kind])
    (tmp_path / "unlisted").mkdir(0o300)
    with pytest.raises(BadInput, match="you may not read it"):
        check_folder(tmp_path / "unlisted")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(BadInput, match=rf"{tmp_path}/link is a link to nowhere, which is missing; make that|link to nowhere"):
        check_folder(tmp_path / "link")
    check_folder(others["folder"])
    check_folder(others["folder"] / "new" / "deep")


def test_targets_are_checked_as_they_are_written(others: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("new")
    for path in (tmp_path / "file", tmp_path / "none" / "deep", tmp_path / "link", others["pipe"], others["device"]):
        check_target(path)
    for kind in ("folder", "socket"):
        for put in (check_target, lambda path: write_file(path, b"")):
            with pytest.raises(BadInput, match=f"is a {kind}; name a file"):
                put(others[kind])
    with pytest.raises(BadInput, match=f"{tmp_path}/file is a file, not a folder"):
        check_target(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_bytes() == b"content"

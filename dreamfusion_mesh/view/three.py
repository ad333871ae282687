"""three.js with its loader of glTF, as trimesh ships it for its own viewer: a classic script, which pages from disk may run."""

from __future__ import annotations

import re
import zipfile
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from dreamfusion_mesh.errors import RunFailed

_ARCHIVE = "resources/templates/viewer.zip"
_START = re.compile(r"init\(\);\s*$")  # of trimesh's own viewer
_NEEDED = ("THREE.GLTFLoader=", "THREE.TrackballControls=")
_LARGEST = 1 << 24  # bytes


@cache
def three_script() -> str:
    """Defines THREE, with GLTFLoader and TrackballControls, under three.js' MIT licence, which its first lines name; does nothing else.

    Raises RunFailed where the installed trimesh ships another viewer.
    """
    try:
        text = _template()
        script = text[text.index("<script>") + len("<script>") : text.rindex("</script>")]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _other_viewer(str(error)) from error
    if not all(name in script for name in _NEEDED) or not _START.search(script) or "</script" in script.lower():
        raise _other_viewer("not three.js with a loader and controls in one script")
    return _START.sub("", script)


def _template() -> str:
    """The page that trimesh fills, read without importing trimesh, which takes a second."""
    spec = find_spec("trimesh")
    places = (spec.submodule_search_locations if spec else None) or []
    archive = next((file for place in places if (file := Path(place) / _ARCHIVE).is_file()), None)
    if archive is None:
        raise KeyError(f"{_ARCHIVE} is missing")
    with zipfile.ZipFile(archive) as zipped, zipped.open("viewer.html.template") as page:
        return page.read(_LARGEST).decode()


def _other_viewer(what: str) -> RunFailed:
    return RunFailed(f"gallery: trimesh {version('trimesh')} ships another viewer ({what}); install trimesh 5.2.0")

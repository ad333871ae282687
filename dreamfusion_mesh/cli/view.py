"""`gallery` and `view`: what was made, to look at in a browser."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dreamfusion_mesh.cli.options import LARGEST_PORT, NAME
from dreamfusion_mesh.files import shown
from dreamfusion_mesh.process import Stopped
from dreamfusion_mesh.run.out import GALLERY, operand


def gallery(
    folder: Annotated[Path, typer.Argument(metavar="DIR", readable=False, help="Folder of a batch, or of runs side by side.")],
    serve: Annotated[bool, typer.Option("--serve", help="Then serve it to this machine's browsers, until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=LARGEST_PORT, help="Of --serve; 0: a free one.")] = 0,
) -> None:
    """Write DIR/gallery.html anew: all rows with their pictures and audits, to search, sort and open in a viewer.

    A double click opens it. The assets of a large batch, too many to lie in one page, open with --serve.
    """
    from dreamfusion_mesh.batch.folder import BatchFolder
    from dreamfusion_mesh.view.gallery import write_gallery
    from dreamfusion_mesh.view.serve import serve_folder

    found = write_gallery(BatchFolder(folder))
    more = f" ({found.left_out} more are left out)" if found.left_out else ""
    print(f"{shown(folder / GALLERY)}: {found.rows} row{'s' if found.rows != 1 else ''}{more}")
    if not found.embedded and not serve:
        print(f"Its assets are too many to lie in the page: {shlex.join([NAME, 'gallery', operand(folder), '--serve'])} opens them, too")
    if serve:
        try:
            serve_folder(folder, port, lambda address: print(f"{address}  (Ctrl-C ends this)"))
        except Stopped:
            return  # which is how it ends


def view(
    path: Annotated[Path, typer.Argument(metavar="PATH", readable=False, help="A .glb, or the folder of a run or of a batch.")],
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=LARGEST_PORT, help="0: a free one.")] = 0,
) -> None:
    """Show assets to this machine's browsers, until Ctrl-C: textured, as clay, as a wireframe, with a checker; levels of detail, hulls.

    Needs viser: pip install "dreamfusion-mesh[view]".
    """
    from dreamfusion_mesh.view.live import serve_view

    try:
        serve_view(path, port, lambda address: print(f"{address}  (Ctrl-C ends this)", flush=True))
    except Stopped:
        return  # which is how it ends

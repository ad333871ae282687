"""`audit`, `settings` and `doctor`: what is measured and listed, and nothing made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dreamfusion_mesh.cli.options import LEAST_FOR_AUDITS, LEAST_FOR_DOCTOR, Engine, Preset, Set
from dreamfusion_mesh.files import kind_of, shown, write_file
from dreamfusion_mesh.out_of_memory import check_address_space


def audit(
    file: Annotated[Path, typer.Argument(readable=False, help="A .glb, .gltf, .obj, .ply, .stl or .off file.")],
    preset: Preset = None,
    set_: Set = None,
    engine: Engine = None,
    json_: Annotated[Path | None, typer.Option("--json", readable=False, help="Also write the result there.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", readable=False, help="Also draw the UV layout, the texel density and the rows there, as PNG."),
    ] = None,
    engines: Annotated[
        bool, typer.Option("--round-trip", help="Also let the installed engines read a .glb back, which may take minutes.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also where a row is not measured.")] = False,
) -> None:
    """Measure whether a file is game-ready. Exits with 1 where a row fails."""
    check_address_space(LEAST_FOR_AUDITS)
    kind_of(file)
    from dreamfusion_mesh.run.audit_file import audit_file
    from dreamfusion_mesh.run.report_file import check_picture, check_report

    if json_ is not None:
        check_report(file, json_, preset)
    if picture is not None:
        check_picture(file, picture, preset, json_)
    found = audit_file(file, preset, set_ or (), engine, engines)
    drawn = None
    if picture is not None:
        from dreamfusion_mesh.audit.picture import audit_picture

        drawn = audit_picture(found)
    print(found.table())
    if json_ is not None:
        from dreamfusion_mesh.run.folder import RunFolder
        from dreamfusion_mesh.run.result import audit_document

        RunFolder(json_.parent).write_json(json_.name, audit_document(found))
    if picture is not None and drawn is not None:
        write_file(picture, drawn, f"--picture {shown(picture)}")
    raise typer.Exit(0 if (found.strictly_passed if strict else found.passed) else 1)


def settings(
    name: Annotated[str | None, typer.Argument(help="A setting or a group, such as guidance.sdi. Left out: all of them.")] = None,
) -> None:
    """List every setting: what it takes, its default, what it is and the paper that it is from; docs/SETTINGS.md has the same."""
    from dreamfusion_mesh.config.page import settings_page

    print(settings_page(name), end="")


def doctor() -> None:
    """List what this machine has: devices, back ends, models; found, or missing and why."""
    check_address_space(LEAST_FOR_DOCTOR)
    from dreamfusion_mesh.doctor import examine

    findings = examine()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "found  " if finding.found else "MISSING" if finding.needed else "absent "
        print(f"{mark}  {finding.group:<11} {finding.name:<{width}}  {finding.detail}")
    raise typer.Exit(0 if all(finding.found for finding in findings if finding.needed) else 1)

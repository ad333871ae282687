"""The one place that reads files which are not trusted, and that writes files.

Reading never waits: only regular files are opened. Writing follows links to the file that they name; a regular file is written whole or not
at all, beside its place, and renamed; what is not a regular file (a device, a pipe, this process's own output) is written to and never
replaced. Files and folders get the permissions that the umask leaves. Failures are BadInput in one line that names the true cause and the
remedy; `name` is how that line begins, None: with the path.
"""

from dreamfusion_mesh.files.check import check_folder, check_target
from dreamfusion_mesh.files.kinds import is_file, kind_of
from dreamfusion_mesh.files.messages import MissingFile, cannot_read, cannot_write, check_path, check_working_folder, shown
from dreamfusion_mesh.files.read import NO_WAITING, open_file, read_bytes, read_text
from dreamfusion_mesh.files.write import NEW_FILE, PARTS, append_file, move_file, remove_file, sync_folder, write_file

__all__ = [
    "NEW_FILE",
    "NO_WAITING",
    "PARTS",
    "MissingFile",
    "append_file",
    "cannot_read",
    "cannot_write",
    "check_folder",
    "check_path",
    "check_target",
    "check_working_folder",
    "is_file",
    "kind_of",
    "move_file",
    "open_file",
    "read_bytes",
    "read_text",
    "remove_file",
    "shown",
    "sync_folder",
    "write_file",
]

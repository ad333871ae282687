"""The Khronos glTF validator (npm package gltf-validator, run by node), where it is installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from dreamfusion_mesh.audit.node import find_package
from dreamfusion_mesh.errors import BadInput

VALIDATOR_VARIABLE = "DREAMFUSION_MESH_GLTF_VALIDATOR"
VALIDATOR_SECONDS = 120

_SCRIPT = """
const [validator, file] = process.argv.slice(1);
const fs = require('fs'), path = require('path');
const home = fs.realpathSync(path.dirname(file)) + path.sep;
const read = (uri) => new Promise((resolve, reject) => {
  const found = fs.realpathSync(path.resolve(home, decodeURIComponent(uri)));
  const readable = found.startsWith(home) && fs.statSync(found).isFile();
  readable ? resolve(new Uint8Array(fs.readFileSync(found))) : reject('no file inside the folder');
});
require(validator)
  .validateBytes(new Uint8Array(fs.readFileSync(file)), {maxIssues: 1000, externalResourceFunction: read})
  .then((report) => process.stdout.write(JSON.stringify(report.issues)))
  .catch((error) => { process.stderr.write(String(error)); process.exit(3); });
"""


def find_validator() -> Path | None:
    """The folder of the package gltf-validator; see `find_package`. Raises BadInput where the environment names a folder without it."""
    return find_package("gltf-validator", VALIDATOR_VARIABLE)


def khronos_report(path: Path, validator: Path) -> tuple[int, int, list[str]]:
    """Errors, warnings and their texts by the validator, the folder of its package. Raises BadInput where it does not answer."""
    command = ["node", "-e", _SCRIPT, "--", str(validator), str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=VALIDATOR_SECONDS, check=True, stdin=subprocess.DEVNULL)
        issues = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise BadInput(f"gltf-validator: no answer within {VALIDATOR_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BadInput(f"gltf-validator: {lines[-1][:200] if lines else f'ended with code {error.returncode}'}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"gltf-validator: did not run ({error})") from None
    texts = [f"{m.get('code')} {m.get('pointer', '')}".strip() for m in issues["messages"] if m.get("severity", 3) <= 1]
    return int(issues["numErrors"]), int(issues["numWarnings"]), texts

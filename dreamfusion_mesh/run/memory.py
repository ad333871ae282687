"""How much memory each stage of a run will take, about, what there is, and which settings lower it.

The estimate is a sum of terms, each a count from the settings times bytes that were measured: peak resident memory on the CPU, of the
presets and of single settings changed (tet_size 24 to 128, sizes 32 to 512, tables of 2^12 to 2^22, textures of 256 to 2048), lay between
0.8 and 1.2 of the estimate. Of models other than the embedded one the weights are counted; what they compute is a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import torch

from dreamfusion_mesh.config import DELIVERY_GROUPS, MULTIVIEW, RunConfig
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.kernels.hashgrid import hash_grid
from dreamfusion_mesh.limits import address_space_limit
from dreamfusion_mesh.out_of_memory import readable
from dreamfusion_mesh.run.guidance_memory import GuidanceMemory, guidance_memory

_LOG = logging.getLogger(__name__)

STAGES = {  # in their order, with the settings that lower each one's memory
    "model": ("guidance.model",),
    "coarse": ("coarse.size", "coarse.samples", "coarse.views", "coarse.field.table_size_log2"),
    "conversion": ("fine.tet_size", "coarse.samples"),
    "fine": ("fine.tet_size", "fine.size", "fine.views"),
    "tidy": ("fine.tet_size",),
    "unwrap": ("mesh.triangles", "texture.size"),
    "bake": ("texture.size", "mesh.triangles"),
    "levels": ("mesh.triangles", "asset.lods"),
    "collision": ("mesh.triangles", "asset.collision_hulls"),
    "write": ("texture.size", "asset.preview_size"),
    "audit": ("texture.size", "mesh.triangles"),
}

_SAVINGS: tuple[dict[str, object], ...] = (  # of the guidance's memory: fewer changes first, of as many those that cost less time
    {"checkpoint_encoder": True},
    {"tile_encoder": "always"},  # which sees one image at a time, too
    {"offload": "layers"},
    {"checkpoint_encoder": True, "offload": "layers"},
    {"tile_encoder": "always", "offload": "layers"},
)
_CPU = torch.device("cpu")
_LIBRARIES = 600 * 2**20  # torch, Warp, diffusers and transformers, loaded
_ADDRESS_SPACE = 1200 * 2**20  # what a process maps beyond what is resident
_SCRATCH = 16 * 2**20  # that libraries take as work begins
_SAMPLED = 0.4  # of a ray's samples lie in the scene's box
_CELL = 600  # of the finest tetrahedral lattice, with gradients and moments
_FACES, _FACE = 27, 600  # faces of a surface in units of tet_size^2, before it has a shape; bytes of one that subdivision adds
_PIXEL = 200  # of a rasterized picture with its gradient
_TABLE_COPIES, _TABLE_KEPT = 14, 2  # of the hash table: values, gradient, two moments, and a checkpoint as tensors and bytes; kept
_KEPT = 0.7  # of the fine stage's peak but for the table, by the allocator, until the delivery
_TEXEL = 150  # of the textures: where it lies, and what all maps have there


def estimate(config: RunConfig, done: Collection[str] = (), device: torch.device = _CPU) -> dict[str, int]:
    """Peak bytes on `device` by stage, about; without the stages that are `done` and those that take less than their neighbours."""
    field = config.coarse.field
    model = guidance_memory(config.guidance, device) if "fine" not in done else GuidanceMemory(0)
    grid = hash_grid(field.levels, field.features, field.table_size_log2, field.coarsest, field.finest)
    table = 4 * grid.rows * field.features
    point = 4 * (2 * grid.width + 5 * field.hidden)  # encoded, hidden, and the gradients of both
    asked, drawn = _evaluations(config), MULTIVIEW if config.coarse.start == "views" else 0
    coarse, fine, texture = config.coarse, config.fine, config.texture
    loaded = _LIBRARIES + model.weights
    volume = _SAMPLED * point * coarse.views * coarse.size**2 * coarse.samples
    added = _FACES * fine.tet_size**2 * (4**fine.surface_subdivisions - 1)
    surface = _CELL * fine.tet_size**3 + _FACE * added + _PIXEL * fine.views * fine.size**2
    baked = _TEXEL * texture.size**2
    refined = _SCRATCH + model.step(fine.views, asked) + surface
    stages = {
        "model": loaded + model.reading,
        "coarse": loaded + _SCRATCH + model.step(max(coarse.views, drawn), asked) + volume + _TABLE_COPIES * table,
        "fine": loaded + refined + _TABLE_COPIES * table,
        "bake": loaded + baked + _TABLE_KEPT * table + (0 if "fine" in done else _KEPT * refined),
    }
    skipped = {*done, "model"} if "fine" in done else set(done)
    return {name: round(value) for name, value in stages.items() if name not in skipped}


def _evaluations(config: RunConfig) -> int:
    """How often a step evaluates the model for a view."""
    guidance = config.guidance
    if guidance.loaded_kind == "CLIP":
        return guidance.clip_loss.crops
    negative = guidance.loss == "csd" and (guidance.negative_prompt != "" or guidance.prompt_style != "none")
    learning = 3 if guidance.loss == "vsd" else 0  # the LoRA answers, and learns with what its gradient needs kept
    return 2 + (guidance.perp_neg > 0) + negative + learning


def warn_where_memory_is_short(config: RunConfig, device: torch.device, done: Collection[str]) -> None:
    """Log a warning for each stage to come whose estimate is above what there is and above that of a stage before it.

    Raises BadInput where there is less than the weights alone take, which are counted.
    """
    free, where, elsewhere = _there_is(device)
    _check_weights(config, device, done)
    largest = free
    for stage, wanted in estimate(config, done, device).items():
        if wanted - elsewhere > largest:
            largest = wanted - elsewhere
            _warn(stage, largest, free, where, config, device)


def _there_is(device: torch.device) -> tuple[int, str, int]:
    """Bytes that this process may hold on `device`, what sets that limit, and how many of an estimate are not there."""
    if device.type != "cuda":
        return (*available(), 0)
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if torch.cuda.get_device_properties(device).is_integrated:  # its memory is the machine's, of which cached files are given back
        free = max(free, available()[0])
    return free, f"on {device}", _LIBRARIES


def _check_weights(config: RunConfig, device: torch.device, done: Collection[str]) -> None:
    import psutil

    if "fine" in done or config.guidance.loaded_model == "embedded":  # which is small beside the rest
        return
    model, (free, where, _) = guidance_memory(config.guidance, device), _there_is(device)
    reading = model.reading - model.mapped
    wanted, spare = model.weights + reading, psutil.swap_memory().free if device.type == "cpu" else 0
    if wanted > free + spare:
        name = f"guidance {config.guidance.loaded_model!r:.80}"
        found = f"the weights of {name} alone take {readable(wanted)}, {readable(reading)} of them its text encoders'"
        remedy = _what_fits(config, "model", device) or "name a smaller model (`dreamfusion-mesh models` lists some)"
        raise BadInput(f"memory: {found}, and {readable(free + spare)} are available {where}; {remedy}, or free memory")


def _what_fits(config: RunConfig, stage: str, device: torch.device) -> str:
    """The fewest changes of the guidance's settings with which a stage is estimated to take less, and to fit; empty where none will do."""
    free, _, elsewhere = _there_is(device)
    guidance = config.guidance
    present = estimate(config, (), device)[stage]
    for saving in _SAVINGS:
        changes = {name: value for name, value in saving.items() if getattr(guidance, name) != value}
        if "offload" in changes and guidance.loss == "vsd":
            continue
        if "offload" in changes and guidance.compile:
            changes["compile"] = False
        changed = config.model_copy(update={"guidance": guidance.model_copy(update=changes)})
        wanted = estimate(changed, (), device)[stage]
        if wanted < present and wanted - elsewhere <= free:
            return "set " + " ".join(f"guidance.{key}={str(each).lower()}" for key, each in changes.items())
    return ""


def warn_where_processes_are_many(config: RunConfig, workers: int) -> None:
    """Log a warning where that many processes that fit on the CPU, and as many that deliver beside them, want more than there is."""
    fit = max(wanted for stage, wanted in estimate(config).items() if stage != "bake")
    wanted = workers * (fit + estimate(config, ("coarse", "fine"))["bake"])
    free, where = min(_shared_limits())
    if wanted > free:
        text = "memory: %d processes take about %s together, and %s are available %s; lower --workers (%d), or settings such as %s"
        settings = ", ".join(STAGES["fine"][:1] + STAGES["bake"][:1])
        _LOG.warning(text, 2 * workers, readable(wanted), readable(free), where, workers, settings)


def _warn(stage: str, wanted: int, free: int, where: str, config: RunConfig, device: torch.device) -> None:
    text = "memory: the stage %s takes about %s, and %s are available %s; should it run out, %s"
    _LOG.warning(text, stage, readable(wanted), readable(free), where, advice(stage, config, device))


def advice(stage: str, config: RunConfig, device: torch.device = _CPU) -> str:
    """What lowers the memory of a stage: settings of the guidance with which it would fit, and others with their present values."""
    guided = stage in ("model", "coarse", "fine") and config.guidance.loaded_model != "embedded"
    fits = _what_fits(config, stage, device) if guided else ""
    return f"{fits} in a run of its own, which would fit, about; or {_lower(stage, config)}" if fits else _lower(stage, config)


def _lower(stage: str, config: RunConfig) -> str:
    """Which settings lower the memory of a stage, with their present values, and where they may change."""
    names = STAGES[stage] if stage != "model" or config.guidance.loaded_kind == "diffusion model" else ("guidance.clip",)
    if stage == "model" and config.guidance.loaded_model == "embedded":  # there is no smaller one
        return "free memory or raise its limit (ulimit -v), and go on with this run"
    values = [f"{name} ({_value(config, name)})" for name in names]
    listed = " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))
    if names[0].split(".")[0] in DELIVERY_GROUPS:
        return f"lower {listed} with `export --set`"
    return f"lower {listed} in a run of its own, or free memory and go on with this one"


def _value(config: RunConfig, name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def available() -> tuple[int, str]:
    """Bytes that this process may hold, those it holds already counted in, and what sets that limit."""
    limits = _shared_limits()
    if (address_space := address_space_limit()) is not None:
        limits.append((address_space - _ADDRESS_SPACE, "below the limit of the address space (ulimit -v)"))
    free, where = min(limits)
    return max(0, free), where


def _shared_limits() -> list[tuple[int, str]]:
    """Those of `available` that are for all processes together."""
    import psutil

    own = psutil.Process().memory_info().rss
    limits = [(psutil.virtual_memory().available + own, "on this machine")]
    return limits + [
        (limit - used + own, "in this control group") for limit, used in _control_groups(Path("/sys/fs/cgroup"), _own_groups())
    ]


def _own_groups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:  # no Linux
        return ""


def _control_groups(root: Path, listed: str) -> list[tuple[int, int]]:
    """Limit and use in bytes of every control group with a limit that holds this process, of both versions.

    root    where they are mounted
    listed  /proc/self/cgroup: "number:controllers:path", a group a line; the number is 0 in version 2
    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max) and cgroup-v1/memory.html (memory.limit_in_bytes)
    """
    found = []
    for line in listed.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base, names = root, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        own = base / path.strip("/")
        for folder in (own, *(parent for parent in own.parents if parent.is_relative_to(base))):
            limit, used = (_number(folder / name) for name in names)
            if limit is not None and used is not None:
                found.append((limit, used - _cached(folder / "memory.stat")))
    return found


def _number(file: Path) -> int | None:
    """A file's whole number; None where it is missing or says "max"."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _cached(file: Path) -> int:
    """Bytes of cached files, a model's that was just fetched among them, which the kernel gives back where memory is short."""
    try:
        values = dict(line.split(" ", 1) for line in file.read_text(encoding="ascii").splitlines())
        lists = ("inactive_file", "active_file")
        return sum(int(values.get(f"total_{name}", values.get(name, 0))) for name in lists)
    except (OSError, ValueError):
        return 0

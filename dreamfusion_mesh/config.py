"""Settings: frozen models with their allowed ranges; presets (YAML) and `--set a.b=value` share one merge.

A preset holds differences only and may name another as its base (`base: default`). What is resolved is written whole to run.yaml.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dreamfusion_mesh.errors import BadInput

Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Span = tuple[float, float]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


MULTIVIEW = 4  # views that a multi-view model sees together


class GuidanceSettings(Settings):
    """Score distillation from one frozen diffusion model."""

    model: str = "embedded"  # or a folder in the diffusers layout
    scale: Annotated[float, Field(ge=0, le=200)] = 5.0
    perp_neg: Weight = 0.0  # how far to keep from what other views' words say (arXiv:2304.04968); above 0 asks it thrice, not twice
    rescale: Fraction = 0.0  # Lin et al., arXiv:2305.08891, section 3.4
    weighting: Literal["one_minus_alpha_bar", "sqrt_one_minus_alpha_bar", "uniform"] = "uniform"
    t_max: Span = (0.98, 0.7)  # first and last step's value
    t_min: Span = (0.02, 0.02)
    textureless_words: str = "a grey clay {subject}"
    negative_prompt: str = ""
    front_degrees: Annotated[float, Field(gt=0, lt=90)] = 45.0  # half-width of "front view", and of "back view"
    overhead_degrees: Annotated[float, Field(gt=0, lt=90)] = 50.0
    half_precision: bool = True  # on CUDA, inside the model alone
    multiview: bool = False  # a step's four views seen together, their cameras told: by models made for it, the embedded one among them

    @model_validator(mode="after")
    def _times(self) -> GuidanceSettings:
        for name in ("t_max", "t_min"):
            if not all(0 <= t <= 1 for t in getattr(self, name)):
                raise ValueError(f"{name}: both values lie in [0, 1]")
        if any(low >= high for low, high in zip(self.t_min, self.t_max, strict=True)):
            raise ValueError("t_min stays below t_max")
        return self


class ViewSettings(Settings):
    """Where cameras and lights are drawn. A narrow model must see what it was trained on."""

    distance: Span = (2.5, 2.7)
    fov_y_degrees: Span = (39.0, 41.0)
    elevation_degrees: Span = (-10.0, 50.0)
    overhead: Fraction = 0.1  # share of views drawn from `overhead_elevation_degrees` instead
    overhead_elevation_degrees: Span = (50.0, 85.0)
    position_jitter: Weight = 0.0
    target_jitter: Weight = 0.0
    ambient: Fraction = 0.35
    diffuse: Fraction = 0.7
    light_spread: Weight = 0.5  # how far the light strays from above the camera
    lambertian: Fraction = 0.5  # share of lit views once `albedo_steps` are over
    textureless: Fraction = 0.1  # share of grey clay views, likewise
    albedo_steps: Annotated[int, Field(ge=0)] = 0
    grey_backgrounds: Fraction = 0.5  # the others have any colour

    @model_validator(mode="after")
    def _spans(self) -> ViewSettings:
        for name in ("distance", "fov_y_degrees", "elevation_degrees", "overhead_elevation_degrees"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the first value is the lower one")
        if self.distance[0] <= 1.8:
            raise ValueError("distance: above 1.8, so that no camera stands inside the scene's box")
        if not (self.fov_y_degrees[0] >= 5 and self.fov_y_degrees[1] <= 120):
            raise ValueError("fov_y_degrees: from 5 to 120")
        if self.lambertian + self.textureless > 1:
            raise ValueError("lambertian + textureless: at most 1")
        return self


class FieldSettings(Settings):
    """Multi-resolution hash grid (Mueller et al., arXiv:2201.05989) and a small network."""

    levels: Annotated[int, Field(ge=1, le=16)] = 8
    features: Literal[1, 2, 4] = 2
    table_size_log2: Annotated[int, Field(ge=8, le=22)] = 15
    coarsest: Annotated[int, Field(ge=2, le=512)] = 8
    finest: Annotated[int, Field(ge=2, le=4096)] = 96
    hidden: Annotated[int, Field(ge=4, le=256)] = 32
    density_bias: float = -1.5
    blob_density: Weight = 3.0  # added before the exponential, as in DreamFusion, appendix A.2: 3 exp(-r^2 / (2 * 0.4^2))
    blob_radius: Positive = 0.4
    normals: Literal["analytic", "finite_differences"] = "analytic"  # finite ones ask six more points, but smooth over their step
    normal_step: Annotated[float, Field(gt=0, le=0.2)] = 0.01  # half the way between the points of a finite difference, scene units


class CoarseSettings(Settings):
    """The field, fitted by score distillation."""

    steps: Annotated[int, Field(ge=1)] = 400
    size: Annotated[int, Field(ge=8, le=1024)] = 64  # pixels a side
    views: Annotated[int, Field(ge=1, le=64)] = 2
    learning_rate: Positive = 0.01  # of the hash grid
    network_learning_rate: Positive = 0.002
    field: FieldSettings = FieldSettings()
    samples: Annotated[int, Field(ge=8, le=1024)] = 64  # steps across the scene's box
    occupancy_size: Annotated[int, Field(ge=8, le=256)] = 48
    occupancy_interval: Annotated[int, Field(ge=1)] = 16
    orientation: Weight = 0.01
    opacity: Weight = 0.001
    entropy: Weight = 0.0
    gradient_clip: Positive = 1.0
    checkpoint_interval: Annotated[int, Field(ge=1)] = 100


class FineSettings(Settings):
    """The tetrahedral surface and its colour, refined by score distillation."""

    steps: Annotated[int, Field(ge=0)] = 150
    size: Annotated[int, Field(ge=8, le=2048)] = 128
    views: Annotated[int, Field(ge=1, le=64)] = 2
    tet_size: Annotated[int, Field(ge=8, le=256)] = 64  # cells along the box's longest side, in the end
    volume_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0  # the cells start so often doubled, and halve at even shares of the steps
    surface_subdivisions: Annotated[int, Field(ge=0, le=2)] = 0  # each makes four faces of one (Loop), before every look and at the end
    threshold: float | Literal["auto"] = "auto"
    sdf_learning_rate: Positive = 0.001
    deform_learning_rate: Positive = 0.001
    color_learning_rate: Positive = 0.001
    t_max: Span = (0.9, 0.7)  # a small model heeds the words at high times alone; lower ones let the colour drift
    t_min: Span = (0.3, 0.1)
    sdf_sign: Span = (0.003, 0.0003)
    normal_consistency: Weight = 0.3
    laplacian: Weight = 0.005
    gradient_clip: Positive = 1.0
    checkpoint_interval: Annotated[int, Field(ge=1)] = 100

    @model_validator(mode="after")
    def _halves(self) -> FineSettings:
        times = 2**self.volume_subdivisions
        if self.tet_size % times or self.tet_size < 4 * times:
            raise ValueError(
                f"volume_subdivisions {self.volume_subdivisions}: tet_size is a multiple of {times} then, at least {4 * times}"
            )
        return self


class RasterSettings(Settings):
    backend: Literal["auto", "warp", "nvdiffrast", "kaolin"] = "auto"  # auto is warp


class MeshSettings(Settings):
    """From the refined surface to the delivered triangles."""

    triangles: Annotated[int, Field(ge=50, le=5_000_000)] = 10_000
    smooth: Annotated[int, Field(ge=0, le=100)] = 2  # Taubin passes before decimation
    smallest_part: Fraction = 0.02  # shells under this share of the faces are dropped


class TextureSettings(Settings):
    size: Literal[64, 128, 256, 512, 1024, 2048, 4096] = 1024
    padding: Annotated[int, Field(ge=0, le=64)] = 4  # texels; 2^k is safe to mip k
    supersample: Annotated[int, Field(ge=1, le=4)] = 2
    unwrap_seconds: Positive = 120.0
    roughness: Fraction = 0.8
    metallic: Fraction = 0.0


class AssetSettings(Settings):
    longest_side: Positive = 1.0  # metres
    preview_size: Annotated[int, Field(ge=16, le=2048)] = 256  # pixels a side of each of the preview's pictures


class AuditSettings(Settings):
    """Thresholds of the game-ready audit; the names follow its rows."""

    hausdorff: Positive = 0.005  # of the diagonal
    smallest_shell: Fraction = 0.005  # of the faces
    mip: Annotated[int, Field(ge=0, le=6)] | Literal["auto"] = "auto"  # gaps survive to this mip; auto: log2(size) - 8, not below 1
    narrow_charts: Fraction = 0.05
    narrow_texels: Positive = 8.0
    density_ratio: Positive = 2.0
    utilisation: Fraction = 0.5


class RunConfig(Settings):
    """Every setting of one run; the prompt too, so that one file says how to make the asset again."""

    prompt: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    commercial: bool = False  # refuse parts whose licence bars commercial use
    guidance: GuidanceSettings = GuidanceSettings()
    views: ViewSettings = ViewSettings()
    coarse: CoarseSettings = CoarseSettings()
    fine: FineSettings = FineSettings()
    raster: RasterSettings = RasterSettings()
    mesh: MeshSettings = MeshSettings()
    texture: TextureSettings = TextureSettings()
    asset: AssetSettings = AssetSettings()
    audit: AuditSettings = AuditSettings()

    @model_validator(mode="after")
    def _together(self) -> RunConfig:
        if self.guidance.multiview and not self.coarse.views == self.fine.views == MULTIVIEW:
            raise ValueError(
                f"guidance.multiview: {MULTIVIEW} views are seen together, and a step has coarse.views {self.coarse.views} and fine.views "
                f"{self.fine.views}: set both to {MULTIVIEW}"
            )
        return self


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _presets().iterdir() if entry.name.endswith(".yaml"))


def load_config(preset: str = "default", changes: Sequence[str] = (), overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Resolve a preset's name or file, then `changes` ("a.b=value"), then `overrides` (nested, from flags).

    Raises BadInput with one line that names the setting, what is allowed and the nearest name.
    """
    merged = _read_preset(preset)
    resolve(merged, origin=f"preset {preset!r}: ")  # so that a bad preset is not blamed on a flag
    for text in changes:
        merged = merge(merged, _read_change(text))
    return resolve(merge(merged, overrides or {}))


def change(config: RunConfig, changes: Sequence[str], device: str | None, groups: Sequence[str]) -> RunConfig:
    """`config` with "a.b=value" changes inside `groups`, and a device. Raises BadInput for a setting outside them."""
    values = config.model_dump()
    for text in changes:
        if text.partition("=")[0].partition(".")[0].strip() not in groups:
            raise BadInput(f"--set {text!r}: only settings of {', '.join(groups)} may change here")
        values = merge(values, _read_change(text))
    return resolve(merge(values, {"device": device} if device else {}))


def resolve(values: Mapping[str, Any], origin: str = "") -> RunConfig:
    """Validate nested values. Raises BadInput naming the first bad setting; `origin` is put before it where a file is to blame."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise BadInput(f"{origin}{_explain(error)}") from None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mapping by mapping; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def dump(config: RunConfig) -> str:
    """Every resolved setting as YAML that `load_config` reads back to an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _presets() -> Any:
    return resources.files("dreamfusion_mesh.presets")


def _read_preset(preset: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    if preset in seen:
        raise BadInput(f"preset {preset!r}: is its own base ({' -> '.join((*seen, preset))})")
    names = preset_names()
    if preset in names:
        text = (_presets() / f"{preset}.yaml").read_text(encoding="utf-8")
    elif preset.endswith((".yaml", ".yml")):
        try:
            text = Path(preset).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"preset {preset!r}: cannot be read ({error})") from None
    else:
        raise BadInput(f"preset {preset!r}: not known{_nearest(preset, names)}; or name a .yaml file")
    values = _parse(f"preset {preset!r}", text)
    values = {} if values is None else values
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise BadInput(f"preset {preset!r}: expected settings (name: value), found {type(values).__name__}")
    base = values.pop("base", None)
    if base is None:
        return values
    return merge(_read_preset(str(base), (*seen, preset)), values)


def _parse(where: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise BadInput(f"{where}: not valid YAML ({problem})") from None


def _read_change(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise BadInput(f"--set {text!r}: expected name=value, such as coarse.steps=400")
    return _nest(key.strip().split("."), _parse(f"--set {key}", value))


def _nest(path: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def _explain(error: ValidationError) -> str:
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return f"{'.'.join(path)}: unknown setting{_nearest(path[-1], _allowed(path[:-1]))}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = problem.get("input")
    shown = "" if isinstance(given, (dict, Settings)) else f" (given {given!r})"
    return f"{'.'.join(path) or 'settings'}: {message}{shown}"


def _allowed(path: Sequence[str]) -> list[str]:
    model: Any = RunConfig
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(names)}" if names else ""

"""Settings: frozen models with their allowed ranges; presets (YAML) and `--set a.b=value` share one merge.

A preset holds differences only and may name another as its base (`base: default`). What is resolved is written whole to run.yaml.
"""

from dreamfusion_mesh.config.audit import AuditSettings
from dreamfusion_mesh.config.base import Span
from dreamfusion_mesh.config.coarse import CoarseSettings, FieldSettings
from dreamfusion_mesh.config.delivery import AssetSettings, MeshSettings, TextureSettings
from dreamfusion_mesh.config.fine import FineSettings, RasterSettings
from dreamfusion_mesh.config.fit import FitSettings
from dreamfusion_mesh.config.guidance import MULTIVIEW, GuidanceSettings
from dreamfusion_mesh.config.load import change, dump, load_config, merge, preset_names, read_cell, read_values, resolve, validate
from dreamfusion_mesh.config.messages import Problem, setting_schemas
from dreamfusion_mesh.config.models import ModelPreset, model_names, model_settings, read_model
from dreamfusion_mesh.config.run import DELIVERY_GROUPS, RunConfig
from dreamfusion_mesh.config.views import ViewSettings

__all__ = [
    "DELIVERY_GROUPS",
    "MULTIVIEW",
    "AssetSettings",
    "AuditSettings",
    "CoarseSettings",
    "FieldSettings",
    "FineSettings",
    "FitSettings",
    "GuidanceSettings",
    "MeshSettings",
    "ModelPreset",
    "Problem",
    "RasterSettings",
    "RunConfig",
    "Span",
    "TextureSettings",
    "ViewSettings",
    "change",
    "dump",
    "load_config",
    "merge",
    "model_names",
    "model_settings",
    "preset_names",
    "read_cell",
    "read_model",
    "read_values",
    "resolve",
    "setting_schemas",
    "validate",
]

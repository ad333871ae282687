"""Presets: YAML files that hold only what differs from the defaults in `dreamfusion_mesh.config`; and a table of prompts to begin with."""

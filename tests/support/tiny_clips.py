"""Tiny random CLIPs of both layouts, written by the libraries themselves."""

import json
import shutil
from importlib import resources
from pathlib import Path

import torch

WORDS = Path(str(resources.files("dreamfusion_mesh.evaluate"))) / "judge" / "text"  # the tokenizer of the world's words
SIDE = 16  # pixels
_MARKS = {"vocab_size": 162, "max_position_embeddings": 24, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_TEXT = {**_MARKS, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def write_clip(folder, seed=0, crop=SIDE, resized=SIDE, newer=False):
    """A folder as transformers saves a CLIP; `newer`: with processor_config.json, as CLIPProcessor saves it since its version 5."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 4}
    config = CLIPConfig(text_config=_TEXT, vision_config={**vision, "image_size": crop}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(WORDS / name, folder / name)
    square = {"height": crop, "width": crop}
    processor = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": resized}, "crop_size": square, "resample": 3}
    name, values = ("processor_config.json", {"image_processor": processor}) if newer else ("preprocessor_config.json", processor)
    (folder / name).write_text(json.dumps(values))
    return folder


def write_towers(folder, seed=0, side=SIDE):
    """A folder with the small towers in image/ and text/, as tools/prior writes the judge's."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, ResNetConfig, ResNetForImageClassification

    torch.manual_seed(seed)
    stages = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_labels": 8}
    ResNetForImageClassification(ResNetConfig(**stages)).save_pretrained(folder / "image")
    CLIPTextModelWithProjection(CLIPTextConfig(**_TEXT, projection_dim=8)).save_pretrained(folder / "text")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(WORDS / name, folder / "text" / name)
    half = [0.5, 0.5, 0.5]
    size = {"do_center_crop": False, "size": {"height": side, "width": side}}
    (folder / "image" / "preprocessor_config.json").write_text(json.dumps({**size, "image_mean": half, "image_std": half}))
    return folder

"""What the transformers of diffusers share, whose families are in transformer_families.py.

Read from a folder that `folder.open_folder` has checked. Every failure is BadInput in one line.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from dreamfusion_mesh.guidance.models.denoiser import Denoiser, checked_count, checked_side
from dreamfusion_mesh.guidance.models.low_rank import check_peft
from dreamfusion_mesh.guidance.models.text_encoder import TextModel
from dreamfusion_mesh.guidance.models.text_families import TextFolder
from dreamfusion_mesh.guidance.weights.folder import Layout, Source

LAYOUT = Layout(
    name="in the diffusers layout, which has transformer/, vae/, text_encoder/, tokenizer/ and scheduler/",
    required=("transformer", "vae", "text_encoder", "tokenizer", "scheduler"),
    optional=("text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3"),
    weights={
        **dict.fromkeys(("transformer", "vae"), "diffusion_pytorch_model"),
        **dict.fromkeys(("text_encoder", "text_encoder_2", "text_encoder_3"), "model"),
    },
)


class Transformer(Denoiser):
    """What all transformers share.

    is_flow  whether it predicts a flow's velocity; the noise otherwise
    reads    the key of its config that says how wide the texts are
    counts   keys of its config that have to be there, and the largest whole number that each may be
    """

    is_flow: ClassVar[bool] = True
    reads: ClassVar[str]
    counts: ClassVar[Mapping[str, int]] = {}

    def __init__(self, network: Any, index: Mapping[str, Any]) -> None:
        """index: what the folder's model_index.json says."""
        super().__init__(network)
        self._index = index

    @classmethod
    def check_config(cls, source: Source, config: Mapping[str, Any], index: Mapping[str, Any]) -> None:
        """Raises BadInput where it takes more than the prompt."""
        for key, most in cls.counts.items():
            checked_count(source, f"transformer/config.json has {key}", config.get(key), most)

    @classmethod
    def check_answers(cls, source: Source, index: Mapping[str, Any], loss: str) -> None:
        """Raises BadInput where one whose model_index.json is `index` cannot give what the loss asks for."""
        if loss == "vsd":
            check_peft()

    def check_loss(self, source: Source, loss: str) -> None:
        """See Denoiser.check_loss."""
        self.check_answers(source, self._index, loss)

    @classmethod
    @abstractmethod
    def text(cls, texts: TextFolder, config: Mapping[str, Any]) -> TextModel:
        """The text encoders that it reads with. Raises BadInput."""

    def size(self, source: Source, index: Mapping[str, Any], scale: int) -> int:
        """Pixels a side of the images that it was made for, where one latent place is `scale` of them. Raises BadInput."""
        return scale * checked_side(source, "transformer/config.json has sample_size", self.config.get("sample_size"))

    @property
    def step(self) -> int:
        """Latent places a side that it sees as one: the latents' side is a multiple."""
        return int(self.network.config.patch_size)

    @property
    def config(self) -> Any:
        """Of the network."""
        return self.network.config

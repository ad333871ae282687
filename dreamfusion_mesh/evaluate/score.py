"""What the judge says of one asset."""

from __future__ import annotations

from torch.nn.functional import normalize

from dreamfusion_mesh.contracts import ImageTextModel
from dreamfusion_mesh.evaluate.janus import front_sectors, view_fits
from dreamfusion_mesh.evaluate.precision import Pool, encode_images, most_frequent, pick, share
from dreamfusion_mesh.evaluate.records import Pictures, Scores


def score(judge: ImageTextModel, pictures: Pictures, prompt: str, pool: Pool) -> Scores:
    """The scores of an asset that was made for `prompt`, which has to be one of the pool's; its vector is on the CPU.

    Raises BadInput where it is not.
    """
    row = pool.row(prompt)
    colour, clay = encode_images(judge, pictures.colour), encode_images(judge, pictures.textureless)
    picked = pick(colour, pool.texts).tolist()
    shapes = [pool.shapes[at] for at in pick(clay, pool.clay).tolist()]
    views = pool.views.get(prompt)
    return Scores(
        colour=share([at == row for at in picked]),
        textureless=share([shape == pool.shapes[row] for shape in shapes]),
        taken_for=most_frequent([pool.prompts[at].text for at in picked]),
        clay_taken_for=most_frequent(shapes),
        fit=float((colour @ pool.texts[row]).mean()),
        front_sectors=None if views is None else front_sectors(view_fits(colour, views)),
        vector=normalize(colour.mean(0), dim=0).cpu(),
    )

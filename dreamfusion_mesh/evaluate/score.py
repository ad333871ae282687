"""What the judge says of one asset."""

from __future__ import annotations

from torch.nn.functional import normalize

from dreamfusion_mesh.contracts import ImageTextModel
from dreamfusion_mesh.evaluate.janus import front_sectors, views_named
from dreamfusion_mesh.evaluate.pictures import ELEVATION
from dreamfusion_mesh.evaluate.precision import Pool, encode_images, most_frequent, pick, share
from dreamfusion_mesh.evaluate.records import Pictures, Scores


def score(judge: ImageTextModel, pictures: Pictures, prompt: str, pool: Pool) -> Scores:
    """The scores of an asset that was made for `prompt`, its pictures taken at ELEVATION; the vector is on the CPU.

    Raises BadInput where the prompt is none of the pool's.
    """
    row = pool.row(prompt)
    device = pool.texts.device
    colour, clay = (encode_images(judge, images.to(device)) for images in (pictures.colour, pictures.textureless))
    picked = pick(colour, pool.texts).tolist()
    shapes = [pool.shapes[at] for at in pick(clay, pool.clay).tolist()]
    views = colour @ pool.views[prompt].T if prompt in pool.views else None
    return Scores(
        colour=share([at == row for at in picked]),
        textureless=share([shape == pool.shapes[row] for shape in shapes]),
        taken_for=most_frequent([pool.prompts[at].text for at in picked]),
        clay_taken_for=most_frequent(shapes),
        fit=float((colour @ pool.texts[row]).mean()),
        clay_fit=float((clay @ pool.clay[row]).mean()),
        views=None if views is None else views_named(views, ELEVATION),
        front_sectors=None if views is None else front_sectors(views),
        vector=normalize(colour.mean(0), dim=0).cpu(),
    )

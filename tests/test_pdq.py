"""Our PDQ gives the bits of the published implementation: these came from pdqhash 0.2.8."""

import numpy as np
import pytest
from PIL import Image

from handlers.pdq import pdq

KNOWN = [
    (0, 64, 64, "98fa33791cf8366f835583d6a94de71e894d18e552f27c295caac990c9927c29", 100),
    (1, 512, 384, "7c405695aae287d047b72968f219782b829587d41de6d697b8487c37eb1de913", 100),
    (2, 300, 512, "545a547d5c1947654781cd901ce5a74a5ca55cb5e71a366f985ebc5923723665", 100),
    (3, 512, 512, "3d3bb4016d39e91ca94409e096c13672ed0dc98d693ef61f56bb16e336c6a652", 100),
    (4, 100, 37, "2372fd815faedc87588d237eb85523785c8ddc8747aadc8123726724c38256b5", 100),
]


@pytest.mark.parametrize(("seed", "width", "height", "bits", "quality"), KNOWN)
def test_the_bits_are_those_of_the_published_implementation(
    seed: int, width: int, height: int, bits: str, quality: int
) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 11), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    assert pdq(picture) == (bits, quality)

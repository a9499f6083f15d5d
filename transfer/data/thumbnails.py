"""Small pictures for a page."""

from __future__ import annotations

import io

from PIL import Image as PillowImage

from transfer.data.limits import BadImage
from transfer.data.loader import File

HEIGHT, MOST_WIDTH, QUALITY = 96, 320, 60


def make_thumbnail(image: File, size: tuple[int, int]) -> bytes | None:
    """Return a JPEG of an image, of 96 pixels in height and at most 320 in width; None if it can't be read any more.

    Parameters
    ----------
    image : File
    size : tuple of int
        Height and width in pixels, whose ratio is kept.

    Raises
    ------
    MemoryError
        If there is too little memory to encode it.
    """
    scale = min(HEIGHT / size[0], MOST_WIDTH / size[1])
    height, width = (max(1, round(side * scale)) for side in size)
    try:
        pixels = image.pixels((height, width))
    except BadImage:
        return None
    buffer = io.BytesIO()
    try:
        PillowImage.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    except OSError as error:  # Pillow's error whatever its encoder lacks; here that can only be memory
        raise MemoryError("a thumbnail can't be encoded") from error
    return buffer.getvalue()

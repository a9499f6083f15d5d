"""Water, light, quays and the camera of the built-in image set: all of a picture that is not a boat.

Pictures are float32 arrays (3, HEIGHT, WIDTH) of 0 to 255 until `expose` converts them to bytes; NumPy is several
times as fast with the colours first as with the colours last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from transfer.data.lagoon.hulls import Form, Ink, Pose, Rgb, mix
from transfer.data.lagoon.waves import HEIGHT, RIPPLES, SPRAY, SWELL, WIDTH, Field, noise

Picture = npt.NDArray[np.float32]  # (3, HEIGHT, WIDTH)
Area = tuple[slice, slice, slice]  # colours, rows and columns
Corner = tuple[int, int]  # column and row
ALL = slice(None)
LARGE = 3e38  # float32; `np.clip` is faster with two bounds than with one

# Three cameras: the sine of the angle above the water, pixels a metre at the middle row, the rows that the
# quay takes at the top (0 for none) and falls a column, and two colours between which the water lies.
Camera = tuple[float, tuple[float, float], float, float, tuple[Rgb, Rgb]]
CAMERAS: tuple[Camera, ...] = (
    (0.52, (25, 29), 0, 0.03, ((88, 116, 120), (98, 108, 92))),
    (0.42, (18, 22), 24, 0.01, ((94, 108, 92), (112, 112, 94))),
    (0.47, (21, 25), 5, -0.02, ((98, 112, 126), (84, 98, 88))),
)
# How often, the light from everywhere, its colour and strength, how high the sun is, how often it glitters.
LIGHTS: tuple[tuple[float, float, Rgb, tuple[float, float], float], ...] = (
    (0.44, 0.55, (1.12, 1.11, 1.08), (0.6, 0.9), 0.35),
    (0.30, 0.90, (0.94, 0.97, 1.00), (0.8, 0.95), 0.0),
    (0.16, 0.50, (1.14, 1.06, 0.94), (0.22, 0.45), 0.6),
    (0.10, 0.85, (0.70, 0.73, 0.76), (0.5, 0.8), 0.1),
)


@dataclass(frozen=True)
class Scene:
    """The camera and the weather of one picture."""

    rise: float  # sine of the camera's angle above the water
    zoom: float  # pixels a metre at the middle row
    slope: float  # rows the quay falls a column
    quay: float  # rows of quay at the top, at the middle column; 0 for none
    sun: tuple[float, float, float]  # unit vector: right, towards the camera, up
    ambient: float
    tint: Rgb
    glitter: float
    water: Rgb
    chop: float  # strength of the waves
    lean: float  # how far their crests turn away from the rows of the picture
    haze: float
    contrast: float
    blur: float
    noise: float  # standard deviation of the sensor's noise

    def pose(self, u: float, v: float, flip: int, yaw: float, scale: float | None = None) -> Pose:
        """Return the pose of a boat; without a scale its size follows from row v."""
        scale = self.zoom * (0.75 + 0.5 * v / HEIGHT) if scale is None else scale
        return Pose(u, v, scale, yaw, flip, self.rise, self.sun, self.ambient, self.tint)


def scene(rng: np.random.Generator) -> Scene:
    """Draw a camera and a weather."""
    light = int(rng.choice(len(LIGHTS), p=[kind[0] for kind in LIGHTS]))
    _, ambient, tint, height, glitter = LIGHTS[light]
    up, around = rng.uniform(*height), rng.uniform(0, 2 * math.pi)
    flat = math.sqrt(1 - up * up)
    strength = float(rng.uniform(0.95, 1.22))
    red, green, blue = (part * strength + float(rng.normal(0, 0.02)) for part in tint)
    rise, zoom, quay, slope, (one, other) = CAMERAS[int(rng.integers(len(CAMERAS)))]
    return Scene(
        rise=rise + float(rng.normal(0, 0.015)),
        zoom=float(rng.uniform(*zoom)),
        slope=slope + float(rng.normal(0, 0.006)),
        quay=quay * float(rng.uniform(0.6, 1.4)),
        sun=(flat * math.cos(around), flat * math.sin(around) * 0.8 - 0.1, up),
        ambient=ambient * float(rng.uniform(0.9, 1.1)),
        tint=(red, green, blue),
        glitter=float(rng.uniform(0.5, 1.0)) if rng.random() < glitter else 0.0,
        water=mix(one, other, float(rng.uniform())),
        chop=float(rng.uniform(0.6, 1.6)),
        lean=float(rng.uniform(-0.17, 0.17)),
        haze=float(rng.uniform(0, 0.35)) if rng.random() < 0.22 else 0.0,
        contrast=float(rng.uniform(1.0, 1.4)),
        blur=float(rng.uniform(-0.14, 0.14)),
        noise=float(rng.uniform(1.2, 4.5)),
    )


@dataclass(frozen=True)
class Surface:
    """The waves of one picture, with mean 0 and size about 1; they distort all reflections."""

    waves: Field
    spray: Field  # finer, for foam and sparks


def water(rng: np.random.Generator, scene: Scene) -> tuple[Picture, Surface]:
    """Draw the empty canal; return it with its waves."""
    swell, fine, spray = (noise(rng, scene.lean, cells) for cells in (SWELL, RIPPLES, SPRAY))
    row = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]
    column = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None]
    # Old wakes cross the canal as trains of long low waves, some of them breaking.
    phase = (column * rng.uniform(4, 22) + row * rng.uniform(-30, 30)) / (0.7 + 0.3 * row) + 0.9 * swell
    train = np.clip(np.sin(phase) - 0.55, 0, LARGE) * np.clip(0.4 + swell, 0, LARGE)
    waves = fine * np.clip(0.7 + 0.35 * swell, 0.25, 1.2) + 0.12 * swell + rng.uniform(0, 1.6) * train
    level = (1.08 - 0.16 * row) + rng.uniform(-0.12, 0.12) * column + 0.06 * scene.chop * waves
    glint = np.clip(waves + 0.3 * spray - 1.2, 0, LARGE) * 0.22 * scene.chop
    share = rng.uniform(0.05, 0.25) * (1 - row) + 0.03 * scene.chop * waves + glint
    level *= 1 - share
    tint = plane(scene.tint)
    picture = level * (plane(scene.water) * tint)
    picture += share * (plane((166, 178, 186)) * tint)
    return picture, Surface(waves, spray)


def plane(colour: Rgb) -> Picture:
    """Return a colour that broadcasts over a picture."""
    return np.array(colour, np.float32)[:, None, None]


def stain(picture: Picture, mask: Field, paint: Picture) -> None:
    """Blend a colour or a picture into a picture, or a part of one, with a mask from 0 to 1."""
    change = paint - picture
    change *= mask
    picture += change


def soft(mask: Image.Image, radius: float) -> tuple[Area, Field]:
    """Blur a half-size mask; return the area that is not empty and its values from 0 to 1."""
    left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
    pad = int(2.5 * radius) + 1
    left, top = max(0, left - pad), max(0, top - pad)
    right, bottom = min(mask.width, right + pad), min(mask.height, bottom + pad)
    part = mask.crop((left, top, right, bottom)).filter(ImageFilter.GaussianBlur(radius))
    part = part.resize((2 * part.width, 2 * part.height), Image.Resampling.BILINEAR)
    area = ALL, slice(2 * top, 2 * bottom), slice(2 * left, 2 * right)
    return area, np.asarray(part, np.float32) / np.float32(255)


def shadow(picture: Picture, surface: Surface, form: Form, pose: Pose) -> None:
    """Draw the boat's shadow on the water and its reflection, both distorted by the waves."""
    mask = Image.new("L", (WIDTH // 2, HEIGHT // 2))
    pen, small = ImageDraw.Draw(mask), pose.resized(0.5)
    right, near, up = pose.sun
    drift_u, drift_v = -right / max(up, 0.35) * small.scale, -near / max(up, 0.35) * small.scale * pose.rise
    for span, top in form.bulk():
        edge = small.pixels(form.outline(0.95, 0.0, span))
        for k in range(1, 13):
            across, along = drift_u * (top * k / 12), drift_v * (top * k / 12)
            pen.polygon([(u + across, v + along) for u, v in edge], 255)
    direct = max(0.0, 1 - pose.ambient)
    area, deep = soft(mask, 1.5)
    deep *= (0.25 + 0.75 * direct) * (1 + 0.25 * surface.waves[area[1:]])
    stain(picture[area], np.clip(deep, 0, 0.8), plane((16, 20, 20)))

    mask.paste(0, (0, 0, *mask.size))
    for span, top in form.bulk():
        line = form.outline(0.9, 0.0, span)[:17]
        mirrored = [(x, y, -0.8 * top) for x, y, _ in reversed(line)]
        pen.polygon(small.pixels(line + mirrored), 255)
    area, seen = soft(mask, 2.0)
    seen *= 0.4 + 0.22 * surface.waves[area[1:]]
    stain(picture[area], np.clip(seen, 0, 0.7), plane(mix((20, 24, 24), form.hull, 0.35)))


def wake(
    picture: Picture, rng: np.random.Generator, surface: Surface, form: Form, pose: Pose, force: float
) -> None:
    """Draw foam behind the boat, along its side and at its bow; `force` from 0 to 1."""
    mask = Image.new("L", (WIDTH // 2, HEIGHT // 2))
    pen, small = ImageDraw.Draw(mask), pose.resized(0.5)
    back, half = form.x(0.02), form.beam * 0.36
    reach, bend = rng.uniform(6, 34) * (0.3 + force), rng.normal(0, 0.006)
    steps = np.linspace(0, reach, 15).tolist()
    for near, far in pairwise(steps):
        fade = (1 - near / reach) ** 1.1
        wide = [half + 0.07 * d for d in (near, far)]
        path = [bend * d * d for d in (near, far)]
        quad = [(back - near, path[0] - wide[0], 0.0), (back - near, path[0] + wide[0], 0.0),
                (back - far, path[1] + wide[1], 0.0), (back - far, path[1] - wide[1], 0.0)]  # fmt: skip
        pen.polygon(small.pixels(quad), int(235 * fade * force))
    for side in (-1, 1):
        tail = [(d, side * (form.beam * 0.45 + 0.2 * d)) for d in (0.0, 0.4 * reach, 0.8 * reach)]
        arm = [(form.x(0.8) - d, y, 0.0) for d, y in tail]
        pen.line(small.pixels(arm), int(130 * force), max(1, round(0.25 * small.scale)))
    skirt = [form.side(t, 0.0) for t in np.linspace(0.02, 0.98, 14).tolist()]
    pen.line(small.pixels((x, y + 0.1, 0) for x, y, _ in skirt), int(60 + 160 * force), 2)
    bulge = zip((0.2, 1.0, 1.2, 0.9, 0.0), skirt[8:13], strict=True)
    curl = [(x, y + 0.9 * force * out, 0.0) for out, (x, y, _) in bulge]
    pen.polygon(small.pixels([*skirt[8:13], *reversed(curl)]), int(250 * force))
    area, cover = soft(mask, 1.6)
    white = np.clip(cover * 1.9 - 0.62 + 0.42 * surface.spray[area[1:]], 0, 1) * np.clip(cover * 4, 0, 1)
    foam = plane((232, 236, 236)) * plane(pose.tint)
    stain(picture[area], np.clip(white + cover * 0.14, 0, 0.92), foam)


def glitter(picture: Picture, rng: np.random.Generator, scene: Scene, surface: Surface) -> None:
    """Draw reflections of the sun on the waves, from sparks to a glaring patch."""
    u, v = rng.uniform(-100, 900), rng.uniform(-60, 260)
    wide, tall = rng.uniform(60, 260), rng.uniform(40, 130)
    columns = np.exp(-(((np.arange(WIDTH, dtype=np.float32) - u) / wide) ** 2))
    rows = np.exp(-(((np.arange(HEIGHT, dtype=np.float32) - v) / tall) ** 2))
    patch = rows[:, None] * columns[None] * scene.glitter
    lit = np.clip((surface.spray[:, ::-1] + 3.0 * patch - 2.0) * 2.5, 0, 1)
    stain(picture, np.clip(lit + 0.25 * patch, 0, 1), plane((262, 260, 250)))


def lay(picture: Picture, surface: Surface, layer: Image.Image, corner: Corner, grain: float) -> None:
    """Blend an RGBA layer into the picture, slightly uneven, with its top left corner at `corner`."""
    area = ALL, slice(corner[1], corner[1] + layer.height), slice(corner[0], corner[0] + layer.width)
    pixels = np.asarray(layer).transpose(2, 0, 1).astype(np.float32, order="C")
    paint = pixels[:3] * (1 + grain * surface.waves[::-1, ::-1][area[1:]])
    stain(picture[area], pixels[3] / 255, paint)


def ink(colour: Rgb, scene: Scene, light: float = 0.8) -> Ink:
    """Return a colour in the light of the scene, as RGBA."""
    red, green, blue = (min(255, max(0, int(c * t * light))) for c, t in zip(colour, scene.tint, strict=True))
    return red, green, blue, 255


def expose(picture: Picture, rng: np.random.Generator, scene: Scene) -> Image.Image:
    """Apply the camera's effects: haze, rain, contrast, blur and noise."""
    # All rows are alike without haze.
    veil = scene.haze * np.linspace(1.2, 0.8, HEIGHT if scene.haze else 1, dtype=np.float32)[:, None]
    picture *= scene.contrast * (1 - veil)
    picture += scene.contrast * (veil * plane((176, 182, 186)) - 110) + 116 + rng.normal(0, 4)
    if rng.random() < 0.08:
        drops = noise(rng, scene.lean, ((1.6, 26, 1.0),))
        picture += 18 * np.clip(drops - 1.0, 0, LARGE)
    # A sensor that is full stays sharp at the edge of what blinds it.
    np.clip(picture, -LARGE, 255, out=picture)
    for step in range(1, 1 if rng.random() < 0.85 else int(rng.integers(2, 4))):
        smear(picture, step, 0.33)
    smear(picture, 1, scene.blur)
    smear(picture, 1, scene.blur, axis=1)
    grain = rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32)
    grain *= scene.noise
    picture += grain
    picture[2] += 0.6 * grain[::-1]
    pixels = np.clip(picture, 0, 255, out=picture).astype(np.uint8)
    # Faster than a transposed copy.
    return Image.merge("RGB", [Image.fromarray(band) for band in pixels])


def smear(picture: Picture, step: int, share: float, axis: int = 2) -> None:
    """Mix every column (or row) with those `step` before and after it; a negative share sharpens."""
    lines = picture.swapaxes(0, axis)
    ends = lines[:step].copy(), lines[-step:].copy()
    # All rows as one are faster; what is mixed across their ends is put back.
    flat = picture.reshape(-1)
    apart = step * picture.strides[axis] // picture.itemsize
    sides = flat[: -2 * apart] + flat[2 * apart :]
    sides *= share
    inner = flat[apart:-apart]
    inner *= 1 - 2 * share
    inner += sides
    lines[:step], lines[-step:] = ends

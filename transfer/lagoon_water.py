"""Water, light, quays and the camera of the built-in image set: all of a picture that is not a boat.

Pictures are float32 arrays (HEIGHT, WIDTH, 3) of 0 to 255 until `expose` makes bytes of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from transfer.lagoon_hulls import Form, Pose, Rgb, mix, pick

HEIGHT, WIDTH = 240, 800
Field = npt.NDArray[np.float32]  # (HEIGHT, WIDTH)
Picture = npt.NDArray[np.float32]  # (HEIGHT, WIDTH, 3)

WATERS: tuple[Rgb, ...] = (
    (92, 114, 118), (94, 106, 92), (86, 110, 108), (112, 110, 92), (98, 112, 128), (70, 82, 76), (106, 118, 112),
)  # fmt: skip
# How often, the light from everywhere, its colour and strength, how high the sun stands, how strong its glitter.
LIGHTS: tuple[tuple[float, float, Rgb, tuple[float, float], float], ...] = (
    (0.42, 0.55, (1.14, 1.13, 1.10), (0.6, 0.9), 0.35),
    (0.28, 0.90, (0.92, 0.95, 0.98), (0.8, 0.95), 0.0),
    (0.18, 0.50, (1.16, 1.06, 0.92), (0.22, 0.45), 0.6),
    (0.12, 0.85, (0.64, 0.67, 0.71), (0.5, 0.8), 0.1),
)
# Waves as cells of noise: columns and rows of the middle of the picture, and how strong they are.
Cells = tuple[tuple[float, float, float], ...]
SWELL: Cells = ((320, 110, 0.8), (130, 34, 0.6), (52, 12, 0.6))
RIPPLES: Cells = ((60, 9, 0.35), (24, 4.6, 0.55), (10, 2.6, 0.5))
SPRAY: Cells = ((30, 10, 0.5), (9, 3.5, 0.55), (3.5, 1.8, 0.5))


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
    haze: float
    contrast: float
    blur: float
    noise: float  # standard deviation of the sensor's noise

    def pose(self, u: float, v: float, flip: int, yaw: float, scale: float | None = None) -> Pose:
        """A boat's place; without a scale it is as large as it looks at row v."""
        scale = self.zoom * (0.75 + 0.5 * v / HEIGHT) if scale is None else scale
        return Pose(u, v, scale, yaw, flip, self.rise, self.sun, self.ambient, self.tint)


def scene(rng: np.random.Generator) -> Scene:
    """A camera and a weather."""
    light = int(rng.choice(len(LIGHTS), p=[kind[0] for kind in LIGHTS]))
    _, ambient, tint, height, glitter = LIGHTS[light]
    up, around = rng.uniform(*height), rng.uniform(0, 2 * math.pi)
    flat = math.sqrt(1 - up * up)
    strength = float(rng.uniform(0.85, 1.12))
    red, green, blue = (part * strength + float(rng.normal(0, 0.02)) for part in tint)
    one, other = rng.choice(len(WATERS), 2, replace=False).tolist()
    return Scene(
        rise=float(rng.uniform(0.36, 0.58)),
        zoom=float(rng.uniform(17, 33)),
        slope=float(rng.uniform(-0.03, 0.05)),
        quay=float(rng.uniform(6, 44)) if rng.random() < 0.45 else 0.0,
        sun=(flat * math.cos(around), flat * math.sin(around) * 0.8 - 0.1, up),
        ambient=ambient * float(rng.uniform(0.9, 1.1)),
        tint=(red, green, blue),
        glitter=float(rng.uniform(0.5, 1.0)) if rng.random() < glitter else 0.0,
        water=mix(WATERS[one], WATERS[other], float(rng.uniform(0, 0.6))),
        chop=float(rng.uniform(0.4, 1.3)),
        haze=float(rng.uniform(0, 0.4)) if rng.random() < 0.3 else 0.0,
        contrast=float(rng.uniform(0.85, 1.25)),
        blur=float(rng.uniform(0.05, 0.24)),
        noise=float(rng.uniform(1.2, 4.5)),
    )


@dataclass(frozen=True)
class Surface:
    """The waves of one picture, mean 0 and about 1 in size; they disturb all that is mirrored in the water."""

    waves: Field
    spray: Field  # finer, for foam and sparks


def noise(rng: np.random.Generator, scene: Scene, cells: Cells) -> Field:
    """Waves of several sizes, the largest first, seen in perspective."""
    tall, wide = 280, 1080
    plane = np.zeros((2, 2), np.float32)
    for columns, rows, weight in cells:
        size = int(wide / columns) + 3, int(tall / rows) + 3
        plane = np.array(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
        plane += weight * rng.standard_normal(size[::-1], dtype=np.float32)
    # Towards the top a pixel covers more water, 1.5 times across and 2.25 times along the view.
    bend, across, along = 0.5 / HEIGHT, (plane.shape[1] - 2) / wide, (plane.shape[0] - 2) / tall
    centre = across * wide / 2
    lens = (across * 1.25, centre * bend, centre - across * 1.25 * WIDTH / 2,
            -along * 1.5 * scene.slope, along * 1.5, along * 14, 0.0, bend)  # fmt: skip
    seen = Image.fromarray(plane).transform(
        (WIDTH, HEIGHT), Image.Transform.PERSPECTIVE, lens, Image.Resampling.BILINEAR
    )
    return np.asarray(seen)


def water(rng: np.random.Generator, scene: Scene) -> tuple[Picture, Surface]:
    """The empty canal, and what moves on it."""
    swell, fine = noise(rng, scene, SWELL), noise(rng, scene, RIPPLES)
    row, column = np.ogrid[0 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    row, column = row.astype(np.float32), column.astype(np.float32)
    # Old wakes cross the canal as trains of long low waves.
    train = (column * rng.uniform(8, 40) + row * rng.uniform(-60, 60)) / (0.7 + 0.3 * row) + 1.5 * swell
    calm = np.clip(0.65 + 0.4 * swell, 0.2, 1.2)
    waves = fine * calm + 0.35 * swell + rng.uniform(0, 0.4) * np.sin(train)
    level = (1.08 - 0.16 * row) + rng.uniform(-0.16, 0.16) * column + 0.05 * scene.chop * waves
    glint = np.maximum(waves - 0.9, 0) * 0.16 * scene.chop
    tint = np.asarray(scene.tint, np.float32)
    share = np.clip(rng.uniform(0.05, 0.3) * (1 - row) + 0.03 * scene.chop * waves + glint, 0, 0.7)[..., None]
    base, sky = np.asarray(scene.water, np.float32) * tint, np.asarray((166, 178, 186), np.float32) * tint
    picture = level[..., None] * base
    picture += share * (sky - picture)
    return picture, Surface(waves, noise(rng, scene, SPRAY))


def stain(picture: Picture, mask: Field, paint: Rgb | Picture) -> None:
    """Covers the picture with a colour, or another picture, where the mask (0 to 1) says so."""
    rows, columns = np.flatnonzero(mask.max(axis=1) > 0.004), np.flatnonzero(mask.max(axis=0) > 0.004)
    if rows.size:
        area = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        over = np.broadcast_to(np.asarray(paint, np.float32), picture.shape)
        picture[area] += mask[area][..., None] * (over[area] - picture[area])


def soft(mask: Image.Image, radius: float) -> Field:
    """A half-size mask as a blurred field of 0 to 1."""
    blurred = mask.filter(ImageFilter.GaussianBlur(radius)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(blurred, np.float32) / 255


def halved(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(u / 2, v / 2) for u, v in points]


def shadow(picture: Picture, surface: Surface, form: Form, pose: Pose) -> None:
    """The boat's shadow on the water and its mirror image, both broken up by the waves."""
    mask = Image.new("L", (WIDTH // 2, HEIGHT // 2))
    pen = ImageDraw.Draw(mask)
    right, near, up = pose.sun
    drift_u, drift_v = -right / max(up, 0.3) * pose.scale, -near / max(up, 0.3) * pose.scale * pose.rise
    for span, top in form.bulk():
        edge = [pose.pixel(point) for point in form.outline(0.95, 0.0, span)]
        for k in range(1, 7):
            z = top * k / 6
            pen.polygon(halved([(u + drift_u * z, v + drift_v * z) for u, v in edge]), 255)
    direct = max(0.0, 1 - pose.ambient)
    deep = soft(mask, 1.5) * (0.25 + 0.75 * direct) * (1 + 0.25 * surface.waves)
    stain(picture, np.clip(deep, 0, 0.8), (16, 20, 20))

    mask.paste(0, (0, 0, *mask.size))
    for span, top in form.bulk():
        line = form.outline(0.9, 0.0, span)[:17]
        mirrored = [(x, y, -0.8 * top) for x, y, _ in reversed(line)]
        pen.polygon(halved([pose.pixel(point) for point in line + mirrored]), 255)
    seen = soft(mask, 2.0) * (0.4 + 0.22 * surface.waves)
    stain(picture, np.clip(seen, 0, 0.7), mix((20, 24, 24), form.hull, 0.35))


def wake(
    picture: Picture, rng: np.random.Generator, surface: Surface, form: Form, pose: Pose, force: float
) -> None:
    """Foam behind the boat, along its side and at its bow; `force` from 0 to 1."""
    mask = Image.new("L", (WIDTH // 2, HEIGHT // 2))
    pen = ImageDraw.Draw(mask)
    back, half = form.x(0.02), form.beam * 0.36
    reach, bend = rng.uniform(6, 34) * (0.3 + force), rng.normal(0, 0.006)
    steps = np.linspace(0, reach, 15).tolist()
    for near, far in zip(steps, steps[1:], strict=False):
        fade = (1 - near / reach) ** 1.1
        wide = [half + 0.07 * d for d in (near, far)]
        path = [bend * d * d for d in (near, far)]
        quad = [(back - near, path[0] - wide[0], 0.0), (back - near, path[0] + wide[0], 0.0),
                (back - far, path[1] + wide[1], 0.0), (back - far, path[1] - wide[1], 0.0)]  # fmt: skip
        pen.polygon(halved([pose.pixel(p) for p in quad]), int(235 * fade * force))
    for side in (-1, 1):
        arm = [(form.x(0.8) - d, side * (form.beam * 0.45 + 0.2 * d), 0.0) for d in (0.0, 0.4 * reach, 0.8 * reach)]
        pen.line(halved([pose.pixel(p) for p in arm]), int(130 * force), max(1, round(0.25 * pose.scale / 2)))
    skirt = [form.side(t, 0.0) for t in np.linspace(0.02, 0.98, 14).tolist()]
    pen.line(halved([pose.pixel((x, y + 0.1, 0)) for x, y, _ in skirt]), int(60 + 160 * force), 2)
    curl = [(x, y + 0.9 * force * k, 0.0) for k, (x, y, _) in zip((0.2, 1.0, 1.2, 0.9, 0.0), skirt[8:13], strict=True)]
    pen.polygon(halved([pose.pixel(p) for p in [*skirt[8:13], *reversed(curl)]]), int(250 * force))
    cover = soft(mask, 1.6)
    white = np.clip(cover * 1.9 - 0.62 + 0.42 * surface.spray, 0, 1) * np.minimum(1, cover * 4)
    tint = pose.tint
    stain(picture, np.minimum(0.92, white + cover * 0.14), (232 * tint[0], 236 * tint[1], 236 * tint[2]))


def glitter(picture: Picture, rng: np.random.Generator, scene: Scene, surface: Surface) -> None:
    """The sun on the waves: sparks, closing up to a blinding patch."""
    u, v = rng.uniform(-100, 900), rng.uniform(-60, 260)
    wide, tall = rng.uniform(60, 260), rng.uniform(40, 130)
    columns = np.exp(-(((np.arange(WIDTH, dtype=np.float32) - u) / wide) ** 2))
    rows = np.exp(-(((np.arange(HEIGHT, dtype=np.float32) - v) / tall) ** 2))
    patch = rows[:, None] * columns[None] * scene.glitter
    lit = np.clip((surface.spray[:, ::-1] + 3.0 * patch - 2.0) * 2.5, 0, 1)
    stain(picture, np.minimum(1, lit + 0.25 * patch), (262, 260, 250))


def quay(picture: Picture, rng: np.random.Generator, scene: Scene, surface: Surface) -> None:
    """Walls and mooring poles along the top edge, and what the water shows of them."""
    layer = Image.new("RGB", (WIDTH, HEIGHT))
    cover = Image.new("L", (WIDTH, HEIGHT))
    pen, hole = ImageDraw.Draw(layer), ImageDraw.Draw(cover)
    dim = [0.8 * t for t in scene.tint]

    def ink(colour: Rgb, light: float = 1.0) -> tuple[int, int, int]:
        red, green, blue = (min(255, max(0, int(c * d * light))) for c, d in zip(colour, dim, strict=True))
        return red, green, blue

    def foot(u: float) -> float:
        return scene.quay + scene.slope * (u - WIDTH / 2)

    u = rng.uniform(-200, 0)
    while u < WIDTH:
        width, wall = rng.uniform(60, 340), pick(("cream", "rust", "tan", "void", "grey", "dark", "void"), rng)
        ends = (u, u + width)
        hole.polygon([(ends[0], -9), (ends[0], foot(ends[0])), (ends[1], foot(ends[1])), (ends[1], -9)], 255)
        pen.polygon([(ends[0], -9), (ends[0], foot(ends[0])), (ends[1], foot(ends[1])), (ends[1], -9)], ink(wall))
        for x in np.arange(u + 12, u + width - 20, rng.uniform(26, 60)).tolist():
            pen.rectangle((x, foot(x) - 34, x + rng.uniform(8, 16), foot(x) - 14), ink((44, 40, 38)))
        for share, colour in ((9, (74, 62, 48)), (4, (34, 38, 30))):
            base = [(e, foot(e) - s) for s, e in ((share, ends[0]), (share, ends[1]), (0, ends[1]), (0, ends[0]))]
            pen.polygon(base, ink(colour))
        u += width + (rng.uniform(20, 60) if rng.random() < 0.25 else 0)
    row = np.arange(HEIGHT, dtype=np.float32)[:, None] - scene.quay
    below = np.exp(-np.maximum(row, 0) / rng.uniform(12, 45)) * (0.55 + 0.3 * surface.waves)
    stain(picture, np.clip(below, 0, 0.85), (30, 34, 30))
    for x in np.sort(rng.uniform(0, WIDTH, int(rng.integers(2, 14)))).tolist():
        wide, deep = rng.uniform(2, 6), rng.uniform(-4, 30)
        box = (x, foot(x) - rng.uniform(8, 30), x + wide, foot(x) + deep)
        for target, fill in ((pen, ink((96, 76, 58), rng.uniform(0.5, 1.4))), (hole, 255)):
            target.rectangle(box, fill)
        pen.rectangle((box[0], box[1], box[2], box[1] + 4), ink((220, 214, 200), rng.uniform(0.6, 1.1)))
    grain = (1 + 0.1 * surface.waves)[..., None]
    stain(picture, np.asarray(cover, np.float32) / 255, np.asarray(layer, np.float32) * grain)


def clutter(picture: Picture, rng: np.random.Generator, scene: Scene, surface: Surface, empty: bool) -> None:
    """What comes before the boat: a pole in the water, rubbish, the shade of a house."""
    layer = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(layer)
    if rng.random() < (0.2 if empty else 0.12):
        u, foot, wide = rng.uniform(20, WIDTH - 20), rng.uniform(60, 250), rng.uniform(5, 13)
        lean = rng.normal(0, 6)
        pen.polygon([(u + lean, -5), (u + lean + wide, -5), (u + wide, foot), (u, foot)], 255)
        round_ = 0.75 + 0.5 * np.abs(np.sin((np.arange(WIDTH, dtype=np.float32) - u) / wide * 3))[None, :, None]
        bark = np.asarray(mix((88, 70, 54), (150, 140, 126), rng.uniform(0, 1)), np.float32) * np.asarray(scene.tint, np.float32)
        stain(picture, np.asarray(layer, np.float32) / 255, (bark * round_ * (1 + 0.12 * surface.waves[..., None])).astype(np.float32))
    if rng.random() < (0.25 if empty else 0.1):
        u, v, size = rng.uniform(0, WIDTH), rng.uniform(50, HEIGHT), rng.uniform(2, 9)
        layer.paste(0, (0, 0, WIDTH, HEIGHT))
        pen.ellipse((u, v, u + size * 2.5, v + size), 255)
        pen.ellipse((u + size * 2, v + 1, u + size * 4, v + size * 0.7), 200)
        stain(picture, np.asarray(layer, np.float32) / 255 * 0.8, pick(("tan", "white", "green", "dark"), rng))
    if rng.random() < 0.2:
        half = Image.new("L", (WIDTH // 2, HEIGHT // 2))
        start, turn = rng.uniform(-100, 400), rng.normal(0, 120)
        edge = [(start, -5), (start + turn, 125), (500 if rng.random() < 0.5 else -100, 125)]
        ImageDraw.Draw(half).polygon([*edge, (edge[2][0], -5)], 255)
        picture *= 1 - rng.uniform(0.25, 0.6) * soft(half, rng.uniform(2, 14))[..., None]


def expose(picture: Picture, rng: np.random.Generator, scene: Scene) -> Image.Image:
    """The camera's part: haze, rain, contrast, blur and noise."""
    if scene.haze:
        veil = scene.haze * np.linspace(1.2, 0.8, HEIGHT, dtype=np.float32)[:, None, None]
        picture += veil * (np.asarray((176, 182, 186), np.float32) - picture)
    picture = (picture - 110) * scene.contrast + 110 + rng.normal(0, 6)
    if rng.random() < 0.08:
        drops = noise(rng, scene, ((1.6, 26, 1.0),))
        picture += 18 * np.clip(drops - 1.0, 0, 1)[..., None]
    np.clip(picture, 0, 255, out=picture)
    step = 1 if rng.random() < 0.85 else int(rng.integers(2, 5))
    smear(picture, step, max(scene.blur, 0.3 * (step > 1)))
    smear(picture.transpose(1, 0, 2), 1, scene.blur)
    grain = scene.noise * rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32)
    picture += 0.8 * grain[..., None]
    picture[..., 0] += 0.5 * grain[::-1]
    picture[..., 2] += 0.6 * grain[:, ::-1]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def smear(picture: Picture, step: int, share: float) -> None:
    """Mixes every column with those `step` to its left and right."""
    sides = picture[:, : -2 * step] + picture[:, 2 * step :]
    inner = picture[:, step:-step]
    inner *= 1 - 2 * share
    sides *= share
    inner += sides

"""Quays, poles and what else lies about in the built-in image set, apart from boats."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from transfer.data.lagoon.hulls import mix, pick
from transfer.data.lagoon.scenery import Picture, Scene, Surface, ink, lay, soft, stain
from transfer.data.lagoon.waves import HEIGHT, WIDTH


def quay(picture: Picture, rng: np.random.Generator, scene: Scene, surface: Surface) -> None:
    """Draw walls and mooring poles along the top edge, and their reflections."""
    layer = Image.new("RGBA", (WIDTH, int(scene.quay) + 64))
    # Coarse, as the water keeps no edge of it.
    mirror = Image.new("RGB", (WIDTH // 16, HEIGHT // 16), ink(scene.water, scene)[:3])
    pen, glass = ImageDraw.Draw(layer), ImageDraw.Draw(mirror)

    def foot(u: float) -> float:
        return scene.quay + scene.slope * (u - WIDTH / 2)

    u, depth = rng.uniform(-200, 0), rng.uniform(15, 70)
    while u < WIDTH:
        right = u + rng.uniform(60, 340)
        wall = pick(("cream", "rust", "tan", "void", "grey", "dark", "void"), rng)
        for rise, colour in ((-99, wall), (-9, (74, 62, 48)), (-4, (34, 38, 30))):
            band = [(u, foot(u) + rise), (u, foot(u)), (right, foot(right)), (right, foot(right) + rise)]
            pen.polygon(band, ink(colour, scene))
        for x in np.arange(u + 12, right - 20, rng.uniform(26, 60)).tolist():
            pen.rectangle((x, foot(x) - 34, x + rng.uniform(8, 16), foot(x) - 14), ink((44, 40, 38), scene))
        glass.rectangle((u / 16, 0, right / 16, HEIGHT), ink(mix(wall, (30, 34, 30), 0.4), scene))
        u = right + (rng.uniform(20, 60) if rng.random() < 0.25 else 0)
    near = slice(0, min(HEIGHT, int(scene.quay + 3 * depth)))
    row = np.arange(near.stop, dtype=np.float32)[:, None] - scene.quay
    below = np.exp(-np.maximum(row, 0) / depth * 1.5) * (0.4 + 0.4 * surface.waves[near])
    used = -(-near.stop // 16)
    stretched = mirror.resize((WIDTH, used * 16), box=(0, 0, mirror.width, used))
    seen = np.asarray(stretched).transpose(2, 0, 1)[:, near]
    stain(picture[:, near], np.clip(below, 0, 0.8), seen.astype(np.float32))
    for x in np.sort(rng.uniform(0, WIDTH, int(rng.integers(2, 14)))).tolist():
        wide, top, low = rng.uniform(2, 6), foot(x) - rng.uniform(8, 30), foot(x) + rng.uniform(-4, 30)
        pen.rectangle((x, top, x + wide, low), ink((96, 76, 58), scene, rng.uniform(0.4, 1.1)))
        pen.rectangle((x, top, x + wide, top + 4), ink((220, 214, 200), scene, rng.uniform(0.5, 0.9)))
    lay(picture, surface, layer, (0, 0), 0.1)


def clutter(picture: Picture, rng: np.random.Generator, scene: Scene, surface: Surface, empty: bool) -> None:
    """Draw objects in front of the boat: a pole in the water, something afloat, the shade of a house."""
    layer = Image.new("RGBA", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(layer)
    if rng.random() < (0.2 if empty else 0.12):
        u, foot = rng.uniform(20, WIDTH - 20), rng.uniform(60, 250)
        wide, lean = rng.uniform(5, 13), rng.normal(0, 6)
        bark = mix((88, 70, 54), (150, 140, 126), rng.uniform(0, 1))
        for k in range(5):
            left, right = u + wide * k / 5, u + wide * (k + 1) / 5
            edge = [(left + lean, -5), (right + lean, -5), (right, foot), (left, foot)]
            pen.polygon(edge, ink(bark, scene, (0.6, 0.95, 1.1, 0.9, 0.6)[k]))
    if rng.random() < (0.25 if empty else 0.1):
        u, v, size = rng.uniform(0, WIDTH), rng.uniform(50, HEIGHT), rng.uniform(2, 9)
        dirt = ink(pick(("tan", "white", "green", "dark"), rng), scene)
        pen.ellipse((u, v, u + size * 2.5, v + size), dirt)
        pen.ellipse((u + size * 2, v + 1, u + size * 4, v + size * 0.7), dirt)
    box = layer.getbbox()
    if box:
        lay(picture, surface, layer.crop(box), box[:2], 0.12)
    if rng.random() < 0.14:
        half = Image.new("L", (WIDTH // 2, HEIGHT // 2))
        start, turn = rng.uniform(-100, 400), rng.normal(0, 120)
        edge = [(start, -5), (start + turn, 125), (500 if rng.random() < 0.5 else -100, 125)]
        ImageDraw.Draw(half).polygon([*edge, (edge[2][0], -5)], 255)
        area, shade = soft(half, rng.uniform(2, 14))
        picture[area] *= 1 - rng.uniform(0.25, 0.5) * shade

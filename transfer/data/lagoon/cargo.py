"""The cargo of the boats of the built-in image set, and the containers for it: one short function for each kind."""

from __future__ import annotations

import math

import numpy as np

from transfer.data.lagoon.boats import GOODS, PALETTE
from transfer.data.lagoon.hulls import Brush, Fitting, Form, Point, mix, pick


def crates(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint crates."""
    part = it.part
    number = int(rng.integers(1, part.count + 1))
    for side in sorted(rng.uniform(-0.8, 0.5, number).tolist()):
        t = rng.uniform(*part.span)
        x, y = form.x(t), side * form.half(t) * part.width
        z = form.free + part.base
        long, wide, tall = rng.uniform(0.35, 1.1, 3).tolist()
        colour = pick(GOODS, rng) if part.count > 3 else pick(part.colours, rng)
        box = (x + long * 0.6, y + wide * 0.5, z + tall * part.height)
        brush.box((x - long * 0.6, y - wide * 0.5, z), box, colour, mix(colour, PALETTE["white"], 0.1))


def heap(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint loose goods, or a tarpaulin over some, in slices from the far side to the near one."""
    part = it.part
    z = form.free + part.base
    ts = np.linspace(*part.span, 13).tolist()
    ridge = np.convolve(rng.uniform(0.4, 1.0, 17), np.ones(5) / 5, "valid").tolist()
    for row in range(9):
        y = -0.9 + 1.8 * row / 8
        arch = math.sqrt(1 - y * y)
        fold = rng.uniform(0.96, 1.04, 13).tolist()
        crest: list[Point] = []
        for k, (t, high, bent) in enumerate(zip(ts, ridge, fold, strict=True)):
            steep = min(1, 2 * k, 2 * (12 - k))
            height = part.height * arch * high * bent * steep
            crest.append((form.x(t), y * part.width * form.half(t), z + height))
        foot = [(x, h, z - 0.1) for x, h, _ in reversed(crest)]
        brush.face([*crest, *foot], mix((0, 0, 0), it.colour, rng.uniform(0.94, 1.0)), (0, y, arch))


def bin_(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint an open container: a box with a dark hole as its top."""
    part = it.part
    (x0, x1), half = (form.x(t) for t in part.span), form.beam / 2 * part.width
    z0, z1 = form.free, form.free + part.height
    brush.box((x0, -half, z0), (x1, half, z1), it.colour, it.colour)
    a, b, edge = x0 + 0.2, x1 - 0.2, half - 0.2
    far = [(a, -edge, z1), (b, -edge, z1), (b, edge, z1), (a, edge, z1)]
    brush.face(far, mix(it.trim, PALETTE["tan"], 0.3), (0, 0.8, 0.6))
    deep = [(b, edge, z1), (a, edge, z1), (a + 0.2, 0, z1), (b - 0.2, 0, z1)]
    brush.face(deep, mix(it.trim, PALETTE["void"], 0.7))
    for x in np.linspace(x0, x1, 6)[1:-1].tolist():
        brush.line([(x, half, z0), (x, half, z1)], mix(it.colour, (0, 0, 0), 0.25), 0.06)

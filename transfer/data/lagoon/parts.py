"""The parts of the boats of the built-in image set: one short function for each kind."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from transfer.data.lagoon.boats import PALETTE
from transfer.data.lagoon.cargo import bin_, crates, heap
from transfer.data.lagoon.hulls import (
    SUPERSAMPLE,
    Brush,
    Fitting,
    Form,
    Pixel,
    Point,
    Pose,
    Rgb,
    hull_back,
    hull_front,
    mix,
    pick,
)

ON_THE_HULL = ("stripe", "tyres", "motor", "ferro")  # hidden by the near side unless painted after it


def paint(
    form: Form, pose: Pose, frame: tuple[int, int], rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int]]:
    """Paint the boat on a transparent RGBA layer, clipped to the frame.

    Parameters
    ----------
    form : Form
    pose : Pose
    frame : (int, int)
        Width and height in pixels.
    rng : numpy.random.Generator

    Returns
    -------
    layer : PIL.Image.Image
    corner : (int, int)
        Column and row of the layer's top left corner.
    """
    reach, tall = form.length / 2 + 1.5, 0.15 * form.length + 2
    left = int(np.clip(pose.u - reach * pose.scale, 0, frame[0] - 1))
    top = int(np.clip(pose.v - (tall + 3) * pose.scale, 0, frame[1] - 1))
    right = int(np.clip(pose.u + reach * pose.scale, left + 1, frame[0]))
    bottom = int(np.clip(pose.v + tall * pose.scale, top + 1, frame[1]))
    brush = Brush((right - left, bottom - top), pose, (left, top))
    hull_back(brush, form)
    for fitting in form.fittings:
        if fitting.part.kind not in ON_THE_HULL:
            KINDS[fitting.part.kind](brush, form, fitting, rng)
    hull_front(brush, form, rng)
    for fitting in form.fittings:
        if fitting.part.kind in ON_THE_HULL:
            KINDS[fitting.part.kind](brush, form, fitting, rng)
    # Most of the layer stays empty.
    x0, y0, x1, y1 = brush.layer.getbbox() or (0, 0, 1, 1)
    x0, y0, x1, y1 = x0 // SUPERSAMPLE, y0 // SUPERSAMPLE, -(-x1 // SUPERSAMPLE), -(-y1 // SUPERSAMPLE)
    part = brush.layer.crop((x0 * SUPERSAMPLE, y0 * SUPERSAMPLE, x1 * SUPERSAMPLE, y1 * SUPERSAMPLE))
    return part.reduce(SUPERSAMPLE).convert("RGBA"), (left + x0, top + y0)


def house(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a cabin."""
    part = it.part
    x0, x1 = form.x(part.span[0]), form.x(part.span[1])
    half = part.width * min(form.beam / 2, 1.25 * form.half(part.span[1]))
    z0 = min(form.floor(part.span[0]), form.free) + part.base
    z1 = z0 + part.height
    brush.box((x0, -half, z0), (x1, half, z1), it.colour, it.trim, part.rake, 0.1)
    if part.rake > 0.4:
        glass = [(x1 - part.rake * f, half * y, z0 + part.height * f) for f, y in
                 ((0.3, -0.9), (0.3, 0.9), (0.9, 0.8), (0.9, -0.8))]  # fmt: skip
        brush.face(glass, PALETTE["glass"], (0.7, 0, 0.7))
    windows(brush, (x0 + 0.15, x1 - 0.2 - part.rake), half - 0.05, (z0, part.height), part.count, rng)
    if part.height > 0.5:
        eaves = oval((x0 + x1 - part.rake) / 2, (x1 - x0 - part.rake) / 2 + 0.02, half - 0.02, z1 + 0.06, 0.2)
        brush.face(eaves, it.trim)


def windows(brush: Brush, span: Pixel, y: float, rise: Pixel, count: int, rng: np.random.Generator) -> None:
    """Paint a row of windows."""
    z0, height = rise
    step = (span[1] - span[0]) / max(1, count)
    bottom, gap = rng.uniform(0.38, 0.46), rng.uniform(0.1, 0.2) * step
    for i in range(count):
        a, b = span[0] + i * step + gap, span[0] + (i + 1) * step - gap
        quad = [(a, y, z0 + height * bottom), (b, y, z0 + height * bottom),
                (b, y, z0 + height * 0.86), (a, y, z0 + height * 0.86)]  # fmt: skip
        brush.face(quad, mix(PALETTE["glass"], PALETTE["sky"], rng.uniform(0, 0.45) ** 2), (0, 1, 0))


def oval(x: float, a: float, b: float, z: float, power: float) -> list[Point]:
    """Return a rectangle with rounded corners; `power` 1 makes an ellipse, 0 a rectangle."""
    turns = [2 * math.pi * i / 28 for i in range(28)]

    def bent(value: float) -> float:
        return math.copysign(abs(value) ** power, value)

    return [(x + a * bent(math.cos(r)), b * bent(math.sin(r)), z) for r in turns]


def roof(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a curved roof."""
    part = it.part
    x0, x1 = form.x(part.span[0]), form.x(part.span[1])
    z, half = form.free + part.base, form.beam / 2 * part.width
    middle, reach = (x0 + x1) / 2, (x1 - x0) / 2
    for i in range(5):
        share = i / 4
        ring = oval(middle, reach * (1 - 0.02 * i), half * (1 - 0.07 * i), z + part.height * share, 0.45)
        brush.face(ring, it.colour, (0, math.cos(share * 1.5), math.sin(share * 1.5)))
    for _ in range(int(rng.integers(0, 4))):
        x = middle + rng.uniform(-0.8, 0.8) * reach
        low, high = (x, -0.3, z + part.height), (x + rng.uniform(0.3, 1.2), 0.3, z + part.height + 0.2)
        brush.box(low, high, it.colour, mix(it.colour, PALETTE["grey"], 0.4))


def void(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint an opening in the deck."""
    x0, x1 = (form.x(t) for t in it.part.span)
    half = form.beam / 2 * it.part.width
    brush.box((x0, -half, form.free), (x1, half, form.free + it.part.height), it.colour, it.colour)


def people(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a group of people."""
    part = it.part
    for _ in range(int(rng.integers(0, part.count + 1))):
        t, side = rng.uniform(*part.span), rng.uniform(-0.55, 0.55)
        person(brush, (form.x(t), side * form.half(t), form.floor(t)), pick(part.colours, rng), rng)


def person(brush: Brush, feet: Point, coat: Rgb, rng: np.random.Generator, seated: float = 0.5) -> None:
    """Paint a person."""
    x, y, z = feet
    tall = 1.0 if rng.random() < seated else rng.uniform(1.55, 1.8)
    lean = rng.normal(0, 0.06)
    if tall > 1.2:
        brush.line([(x, y, z), (x, y, z + 0.85)], pick(("dark", "navy", "black", "tan"), rng), 0.3)
    brush.line([(x, y, z + tall - 1.0), (x + lean, y, z + tall - 0.35)], coat, 0.42)
    brush.line([(x + lean - 0.22, y, z + tall - 0.45), (x + lean + 0.22, y, z + tall - 0.45)], coat, 0.2)
    brush.dot((x + lean, y, z + tall - 0.15), 0.13, PALETTE["skin"], 1.15)
    brush.dot((x + lean, y, z + tall - 0.08), 0.13, pick(("dark", "wood", "black", "grey"), rng), 0.8)


def oarsman(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a standing person with an oar."""
    t = rng.uniform(*it.part.span)
    x, z = form.x(t), form.sheer(t)
    reach = rng.uniform(-1.8, 1.2)
    person(brush, (x, 0.1, z), it.colour, rng, seated=0.0)
    hands = (x + 0.25, 0.2, z + 1.1)
    brush.line([(x, 0.1, z + 1.3), hands], it.colour, 0.12)
    blade = (x + reach, form.half(t) + 1.3, -0.1)
    brush.line([(x + 0.4, 0.2, z + 1.3), hands, blade], PALETTE["tan"], 0.08)


def crane(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a crane."""
    part = it.part
    x, z = form.x(rng.uniform(*part.span)), form.free
    way = 1 if rng.random() < 0.6 else -1
    knee, tip = rng.uniform(0.6, 1.8), rng.uniform(2.0, 4.5)
    brush.box((x - 0.5, -0.5, z), (x + 0.5, 0.5, z + 0.6), mix(it.colour, PALETTE["dark"], 0.5), it.colour)
    top = (x + way * 0.3, 0.0, z + part.height)
    elbow = (x + way * (0.4 + knee), 0.0, z + part.height * rng.uniform(0.9, 1.3))
    end = (x + way * (0.4 + tip), rng.uniform(-0.6, 0.6), z + part.height * rng.uniform(0.3, 0.9))
    brush.line([(x, 0, z), top], it.colour, 0.4)
    brush.line([top, elbow, end], it.colour, 0.28)
    brush.line([(x, 0.1, z + 0.8), elbow], PALETTE["dark"], 0.1)
    brush.line([end, (end[0], end[1], z + 0.3)], PALETTE["dark"], 0.16)


def cross(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a cross."""
    part = it.part
    x = form.x(sum(part.span) / 2)
    z = form.free * (0.4 if form.boat.well and form.boat.well[1] >= part.span[0] else 1.0) + part.base
    brush.line([(x - 0.4, 0, z), (x + 0.4, 0, z)], it.colour, 0.2)
    brush.line([(x, -0.4, z), (x, 0.4, z)], it.colour, 0.25)


def beacon(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a beacon."""
    part = it.part
    z = form.free + part.base
    shine = mix(it.colour, (90, 150, 255), rng.uniform(0, 0.8))
    for y in (-0.5, 0.5) if part.count > 1 else (0.0,):
        brush.dot((form.x(part.span[0]), y, z - 0.05), 0.12, PALETTE["grey"], 0.6)
        brush.dot((form.x(part.span[0]), y, z + 0.08), 0.13, shine, 0.9)


def mast(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a mast."""
    x, z = form.x(it.part.span[0]), form.free + 0.6
    brush.line([(x, 0, z), (x - 0.3, 0, z + it.part.height)], it.colour, 0.05)
    brush.line([(x - 0.2, -0.5, z + 1.2), (x - 0.2, 0.5, z + 1.2)], it.colour, 0.1)


def screen(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a windscreen."""
    part = it.part
    (a, b), half, z = (form.x(t) for t in part.span), form.half(part.span[1]) * part.width, form.free
    edge = [(b, -half, z), (a, -half, z + part.height), (a, half, z + part.height), (b, half, z)]
    brush.face(edge, it.colour, (0.7, 0, 0.7))
    brush.face([(a - 0.5, half, z), (b, half, z), (a, half, z + part.height)], it.colour, (0, 1, 0))
    brush.line(edge, it.trim, 0.05)


def motor(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint an outboard motor."""
    x, z = form.x(0), form.free
    brush.line([(x - 0.25, 0, -0.2), (x - 0.25, 0, z)], PALETTE["dark"], 0.2)
    top = mix(it.colour, PALETTE["grey"], 0.3)
    brush.box((x - 0.55, -0.22, z), (x, 0.22, z + 0.5), it.colour, top, 0.1, 0.06)


def ferro(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint the iron at a gondola's prow and the curl at its stern."""
    x, z = form.x(1.0), form.sheer(1.0)
    blade = [(x - 0.5, 0, z - 0.3), (x, 0, z), (x + 0.02, 0, z + 0.5), (x + 0.22, 0, z + 0.5)]
    brush.line(blade, it.colour, 0.16)
    for k in range(4):
        brush.line([(x, 0, z + 0.08 * k), (x + 0.2, 0, z + 0.08 * k)], it.colour, 0.04)
    x, z = form.x(0.0), form.sheer(0.0)
    brush.line([(x + 0.7, 0, z - 0.25), (x, 0, z), (x - 0.05, 0, z + 0.35)], form.hull, 0.14)


def stripe(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint a stripe along the hull."""
    part = it.part
    start, stop = part.span
    if part.base:
        z, y = form.free * 0.4 + part.base, form.beam / 2 * part.width
        corners = ((start, 0), (stop, 0), (stop, part.height), (start, part.height))
        quad = [(form.x(t), y, z + h) for t, h in corners]
        brush.face(quad, it.colour, (0, 1, 0))
        return
    ts = [start + (stop - start) * i / 12 for i in range(13)]
    low, high = 0.66 - part.height / 2 / form.free, 0.66 + part.height / 2 / form.free
    band = [form.side(t, low) for t in ts] + [form.side(t, high) for t in reversed(ts)]
    brush.face(band, it.colour, (0, 1, 0))


def tyres(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """Paint tyres as fenders."""
    for _ in range(int(rng.integers(1, it.part.count + 1))):
        point = form.side(rng.uniform(*it.part.span), 0.72)
        brush.dot(point, 0.24, it.colour)
        brush.dot(point, 0.1, form.hull)


Painter = Callable[[Brush, Form, Fitting, np.random.Generator], None]
KINDS: dict[str, Painter] = {
    "house": house, "roof": roof, "void": void, "people": people, "oarsman": oarsman, "crates": crates,
    "heap": heap, "bin": bin_, "crane": crane, "cross": cross, "beacon": beacon, "mast": mast,
    "screen": screen, "motor": motor, "ferro": ferro, "stripe": stripe, "tyres": tyres,
}  # fmt: skip

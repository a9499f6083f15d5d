"""The hulls of the built-in image set, as solids seen slightly from above, and the brush that paints them.

A boat has coordinates in metres: x from the stern to the bow, y towards the camera, z up from the water line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from transfer.data.lagoon.boats import BOATS, PALETTE, Boat, Part

Rgb = tuple[float, float, float]
Point = tuple[float, float, float]
Pixel = tuple[float, float]
Ink = tuple[int, int, int, int]

SUPERSAMPLE = 2
STATIONS = tuple((1 - math.cos(math.pi * i / 16)) / 2 for i in range(17))  # denser where hulls curve


@dataclass(frozen=True)
class Pose:
    """The position of a boat, and how it is seen and lit."""

    u: float  # pixel column of the boat's middle on the water
    v: float  # pixel row of it
    scale: float  # pixels a metre
    yaw: float  # radians
    flip: int  # 1 heads right, -1 heads left
    rise: float  # sine of the camera's angle above the water
    sun: Point  # unit vector to the sun: right, towards the camera, up
    ambient: float  # share of the light that comes from everywhere
    tint: Rgb  # colour and strength of the light

    @cached_property
    def _turned(self) -> Point:
        """The cosine and the sine of the yaw, and how much of an upright metre is seen."""
        return math.cos(self.yaw), math.sin(self.yaw), math.sqrt(1 - self.rise**2)

    def turn(self, x: float, y: float) -> Pixel:
        """Rotate a direction on the boat to one in the scene: to the right, towards the camera."""
        c, s, _ = self._turned
        return self.flip * x * c - y * s, self.flip * x * s + y * c

    def pixels(self, points: Iterable[Point]) -> list[Pixel]:
        """Return the columns and rows at which points of the boat are seen."""
        c, s, upright = self._turned
        u, v, scale, flip, rise = self.u, self.v, self.scale, self.flip, self.rise
        return [
            (u + scale * (flip * x * c - y * s), v + scale * ((flip * x * s + y * c) * rise - z * upright))
            for x, y, z in points
        ]

    def resized(self, factor: float) -> Pose:
        """Return the same on a picture of another size; with powers of two pixels are exact multiples."""
        return replace(self, u=self.u * factor, v=self.v * factor, scale=self.scale * factor)

    def light(self, normal: Point) -> float:
        """Return the brightness of a face with this unit normal."""
        right, near = self.turn(normal[0], normal[1])
        facing = right * self.sun[0] + near * self.sun[1] + normal[2] * self.sun[2]
        return self.ambient + (1.4 - self.ambient) * max(0.0, facing)


@dataclass(frozen=True)
class Fitting:
    """A part with the colours chosen for it."""

    part: Part
    colour: Rgb
    trim: Rgb


@dataclass(frozen=True)
class Form:
    """A boat with everything chosen that its class leaves open."""

    boat: Boat
    length: float
    beam: float
    free: float
    hull: Rgb
    deck: Rgb
    boot: Rgb
    rail: Rgb
    inner: Rgb
    fittings: tuple[Fitting, ...]

    def x(self, t: float) -> float:
        """Return the coordinate x at fraction t of the length."""
        return (t - 0.5) * self.length

    def half(self, t: float) -> float:
        """Return half the breadth at the gunwale, at fraction t of the length."""
        return self.section(t)[1]

    def sheer(self, t: float) -> float:
        """Return the height of the gunwale."""
        return self.section(t)[2]

    @cached_property
    def section(self) -> Callable[[float], tuple[float, float, float, float]]:
        """A function of the fraction of the length: x, half the breadth, the gunwale's height, the side's overhang."""
        return cache(self._section)  # the parts of a boat need the same ones many times

    def _section(self, t: float) -> tuple[float, float, float, float]:
        boat = self.boat
        aft = boat.stern + (1 - boat.stern) * math.sqrt(1 - (1 - min(1.0, t / boat.quarter)) ** 2)
        fore = 1 - (1 - boat.prow) * math.pow(max(0.0, (t - 1 + boat.bow) / boat.bow), boat.blunt)
        sheer = self.free + boat.lift[t > 0.5] * math.pow(abs(t - 0.5) * 2, 2.6)
        rake = boat.overhang * max(0.0, (t - 0.6) / 0.4) ** 1.6
        if boat.stern < 0.5:  # a narrow stern overhangs as the bow does
            rake -= 0.5 * boat.overhang * max(0.0, (0.2 - t) / 0.2) ** 2
        return self.x(t), self.beam / 2 * aft * fore, sheer, rake

    def side(self, t: float, share: float) -> Point:
        """Return a point of the near side, from the water line (0) to the gunwale (1)."""
        x, half, sheer, rake = self.section(t)
        return x - rake * (1 - share), half * (0.84 + 0.16 * share), sheer * share

    def floor(self, t: float) -> float:
        """Return the height on which people and goods stand."""
        well = self.boat.well
        return self.free * 0.4 if well and well[0] <= t <= well[1] else self.sheer(t)

    def outline(self, wide: float = 1.0, z: float | None = None, span: Pixel = (0.0, 1.0)) -> list[Point]:
        """Return the edge of the deck, the near side first and then back along the far side."""
        steps = [span[0] + t * (span[1] - span[0]) for t in STATIONS]
        sections = [self.section(t)[:3] for t in steps]
        near = [(x, wide * half, sheer if z is None else z) for x, half, sheer in sections]
        return near + [(x, -y, h) for x, y, h in reversed(near)]

    def bulk(self) -> list[tuple[Pixel, float]]:
        """Return spans of the length, each with the height of what stands there."""
        tall = [it.part for it in self.fittings if it.part.kind in ("house", "roof", "void", "bin")]
        return [((0.0, 1.0), self.free), *((part.span, self.free + part.base + part.height) for part in tall)]


def build(name: str, rng: np.random.Generator) -> Form:
    """Draw the sizes, colours and cargo of a boat of the class `name` from `rng`."""
    boat = BOATS[name]
    chosen: dict[tuple[str, tuple[str, ...]], Rgb] = {}

    def once(role: str, names: tuple[str, ...]) -> Rgb:
        """Choose one colour for all parts with this role: a boat's cabins are painted alike."""
        return chosen.setdefault((role, names), pick(names, rng))

    fittings = tuple(
        Fitting(part, once("body", part.colours), once("trim", part.trim))
        for part in boat.parts
        if rng.random() < part.chance
    )
    length, beam, free = (float(rng.uniform(*pair)) for pair in (boat.length, boat.beam, boat.free))
    names = (boat.hulls, boat.decks, boat.boots, boat.rails, boat.inner)
    hull, deck, boot, rail, inner = (pick(choice, rng) for choice in names)
    return Form(boat, length, beam, free, hull, deck, boot, rail, inner, fittings)


def pick(names: Sequence[str], rng: np.random.Generator) -> Rgb:
    """Choose one of the named colours, with a small random change."""
    red, green, blue = PALETTE[names[int(rng.integers(len(names)))]]
    gain, tone = rng.uniform(0.85, 1.1), rng.normal(0, 5)
    return red * gain + tone, green * gain, blue * gain - tone


def mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    """Mix two colours; `share` is that of the second."""
    (r, g, b), (red, green, blue) = one, other
    return r + (red - r) * share, g + (green - g) * share, b + (blue - b) * share


def ink(colour: Rgb, tint: Rgb, light: float) -> Ink:
    """Return a colour in a light of this colour and strength, as RGBA."""
    (r, g, b), (red, green, blue) = colour, tint
    r, g, b = int(r * light * red), int(g * light * green), int(b * light * blue)
    return min(255, max(0, r)), min(255, max(0, g)), min(255, max(0, b)), 255


class Brush:
    """A brush that paints faces given in metres onto a transparent layer."""

    def __init__(self, size: tuple[int, int], pose: Pose, corner: tuple[int, int]) -> None:
        self.pose = replace(pose, u=pose.u - corner[0], v=pose.v - corner[1]).resized(SUPERSAMPLE)
        # All is painted opaque, and so already multiplied by its alpha, as `reduce` needs it.
        self.layer = Image.new("RGBa", (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE))
        self.pen = ImageDraw.Draw(self.layer)

    def ink(self, colour: Rgb, light: float) -> Ink:
        """Return a colour in this light, as RGBA."""
        return ink(colour, self.pose.tint, light)

    def face(self, points: Iterable[Point], colour: Rgb, normal: Point = (0, 0, 1)) -> None:
        """Paint a polygon with the given unit normal."""
        self.pen.polygon(self.pose.pixels(points), self.ink(colour, self.pose.light(normal)))

    def line(self, points: Iterable[Point], colour: Rgb, metres: float) -> None:
        """Paint a line of the given width in metres."""
        width = max(1, round(metres * self.pose.scale))
        ink = self.ink(colour, self.pose.light((0, 0.7, 0.7)))
        self.pen.line(self.pose.pixels(points), ink, width, joint="curve")

    def dot(self, point: Point, radius: float, colour: Rgb, tall: float = 1.0) -> None:
        """Paint an ellipse around a point; `tall` is the ratio of height to width."""
        [(u, v)] = self.pose.pixels([point])
        r = max(1.0, radius * self.pose.scale)
        self.pen.ellipse(
            (u - r, v - r * tall, u + r, v + r * tall), self.ink(colour, self.pose.light((0, 0.7, 0.7)))
        )

    def box(
        self, low: Point, high: Point, colour: Rgb, top: Rgb, rake: float = 0.0, inset: float = 0.0
    ) -> None:
        """Paint a box; its top is `inset` narrower than its base and leans back by `rake` at the front."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        foot = [(x0, y0, z0), (x0, y1, z0), (x1, y1, z0), (x1, y0, z0)]
        a, b = x0 + inset, x1 - inset - rake
        lid = [(a, y0 + inset, z1), (a, y1 - inset, z1), (b, y1 - inset, z1), (b, y0 + inset, z1)]
        # The ends come first: whichever of them is turned away is then covered by the sides that are not.
        self.face((foot[0], foot[1], lid[1], lid[0]), colour, (-1, 0, 0))
        slope = 1 / math.hypot(rake, z1 - z0 + 1e-6)
        self.face((foot[3], foot[2], lid[2], lid[3]), colour, ((z1 - z0) * slope, 0, rake * slope))
        self.face((foot[1], foot[2], lid[2], lid[1]), colour, (0, 1, 0))
        self.face(lid, top)


def hull_back(brush: Brush, form: Form) -> None:
    """Paint the transom, the deck and the inside of an open hull: everything behind the parts."""
    for t, way in ((0.0, -1.0), (1.0, 1.0)):
        corners = form.side(t, 0.0), form.side(t, 1.0)
        across = [*corners, *((x, -y, z) for x, y, z in reversed(corners))]
        brush.face(across, form.hull, (way, 0, 0))
    brush.face(form.outline(), form.deck)
    brush.line(form.outline()[17:], form.rail, 0.08)
    well = form.boat.well
    if not well:
        return
    brush.face(form.outline(0.84, span=well), mix(form.inner, PALETTE["void"], 0.15), (0, 0.8, 0.6))
    foot = (well[0] + 0.015, well[1] - 0.015)
    brush.face(form.outline(0.72, form.free * 0.4, foot), mix(form.inner, PALETTE["void"], 0.35))
    for t in np.linspace(*well, max(3, round(form.length / 1.6)))[1:-1].tolist():
        half = form.half(t) * 0.8
        ends = [(form.x(t), y, form.free * 0.75) for y in (-half, half)]
        brush.line(ends, mix(form.inner, form.deck, 0.5), 0.07 if form.length > 9 else 0.2)


def hull_front(brush: Brush, form: Form, rng: np.random.Generator) -> None:
    """Paint the near gunwale and the near side."""
    if form.boat.well:
        outer, inner = form.outline()[:17], form.outline(0.86)[:17]
        brush.face([*outer, *reversed(inner)], form.deck)
    wear, grime = rng.uniform(0.94, 1.03, 16).tolist(), PALETTE["olive"]
    bands = (
        (0.0, 0.22, form.boot, 1.0),
        (0.2, 0.5, form.hull, rng.uniform(0.75, 1.0)),
        (0.48, 1.0, form.hull, 1.0),
    )
    for (t0, t1), worn in zip(pairwise(STATIONS), wear, strict=True):
        run, out = form.x(t1) - form.x(t0), form.half(t0) - form.half(t1)
        size = math.hypot(run, out)
        normal = (out / size, run / size, 0.0)
        for low, high, colour, clean in bands:
            quad = (form.side(t0, low), form.side(t1, low), form.side(t1, high), form.side(t0, high))
            brush.face(quad, mix(grime, colour, worn * clean), normal)
    brush.line([form.side(t, 0.97) for t in STATIONS], form.rail, 0.1)
    if rng.random() < 0.5:
        start = rng.uniform(0.55, 0.7)
        for i in range(int(rng.integers(3, 7))):
            t = start + i * 0.2 / form.length
            brush.line([form.side(t, 0.55), form.side(t, 0.75)], mix(form.hull, form.rail, 0.8), 0.1)

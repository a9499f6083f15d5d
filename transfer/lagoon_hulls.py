"""Draws one boat of the built-in image set, as a solid seen slightly from above.

A boat is laid out in metres: x from the stern to the bow, y towards the camera, z up from the water line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from transfer.lagoon_boats import BOATS, GOODS, PALETTE, Boat, Part

Rgb = tuple[float, float, float]
Point = tuple[float, float, float]
Pixel = tuple[float, float]

SUPERSAMPLE = 2
STATIONS = tuple((1 - math.cos(math.pi * i / 16)) / 2 for i in range(17))  # denser where hulls curve
ON_THE_HULL = ("stripe", "tyres", "motor", "ferro")  # hidden by the near side unless painted after it


@dataclass(frozen=True)
class Pose:
    """Where a boat lies and how it is seen and lit."""

    u: float  # pixel column of the boat's middle on the water
    v: float  # pixel row of it
    scale: float  # pixels a metre
    yaw: float  # radians
    flip: int  # 1 heads right, -1 heads left
    rise: float  # sine of the camera's angle above the water
    sun: Point  # unit vector to the sun: right, towards the camera, up
    ambient: float  # share of the light that comes from everywhere
    tint: Rgb  # colour and strength of the light

    def turn(self, x: float, y: float) -> Pixel:
        """A direction on the boat as one in the scene: to the right, towards the camera."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.flip * x * c - y * s, self.flip * x * s + y * c

    def pixel(self, point: Point) -> Pixel:
        """Column and row at which a point of the boat is seen."""
        right, near = self.turn(point[0], point[1])
        down = near * self.rise - point[2] * math.sqrt(1 - self.rise**2)
        return self.u + self.scale * right, self.v + self.scale * down

    def light(self, normal: Point) -> float:
        """Brightness of a face with this unit normal."""
        right, near = self.turn(normal[0], normal[1])
        facing = right * self.sun[0] + near * self.sun[1] + normal[2] * self.sun[2]
        return self.ambient + (1.25 - self.ambient) * max(0.0, facing)


@dataclass(frozen=True)
class Fitting:
    """A part with the colours chosen for it."""

    part: Part
    colour: Rgb
    trim: Rgb


@dataclass(frozen=True)
class Form:
    """One boat of a class, with everything chosen that its class leaves open."""

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
        return (t - 0.5) * self.length

    def half(self, t: float) -> float:
        """Half the breadth at gunwale height, at share t of the length."""
        boat = self.boat
        aft = boat.stern + (1 - boat.stern) * math.sqrt(1 - (1 - min(1.0, t / boat.quarter)) ** 2)
        fore = 1 - (1 - boat.prow) * max(0.0, (t - 1 + boat.bow) / boat.bow) ** boat.blunt
        return self.beam / 2 * aft * fore

    def sheer(self, t: float) -> float:
        """Height of the gunwale."""
        end = abs(t - 0.5) * 2
        return self.free + self.boat.lift[t > 0.5] * end**2.6

    def side(self, t: float, share: float) -> Point:
        """A point of the near side, from the water line (0) to the gunwale (1)."""
        rake = self.boat.overhang * max(0.0, (t - 0.6) / 0.4) ** 1.6
        rake -= 0.5 * self.boat.overhang * max(0.0, (0.2 - t) / 0.2) ** 2 * (self.boat.stern < 0.5)
        return self.x(t) - rake * (1 - share), self.half(t) * (0.84 + 0.16 * share), self.sheer(t) * share

    def floor(self, t: float) -> float:
        """Height on which people and goods stand."""
        well = self.boat.well
        return self.free * 0.4 if well and well[0] <= t <= well[1] else self.sheer(t)

    def outline(self, wide: float = 1.0, z: float | None = None, span: Pixel = (0.0, 1.0)) -> list[Point]:
        """The deck's edge, the near side first and then back along the far side."""
        steps = [span[0] + t * (span[1] - span[0]) for t in STATIONS]
        near = [(self.x(t), wide * self.half(t), self.sheer(t) if z is None else z) for t in steps]
        return near + [(x, -y, h) for x, y, h in reversed(near)]

    def bulk(self) -> list[tuple[Pixel, float]]:
        """Shares of the length with the height of what stands there."""
        tall = [it.part for it in self.fittings if it.part.kind in ("house", "roof", "void", "bin")]
        return [((0.0, 1.0), self.free), *((part.span, self.free + part.base + part.height) for part in tall)]


def build(name: str, rng: np.random.Generator) -> Form:
    """A boat of the class `name`, with sizes, colours and cargo drawn from `rng`."""
    boat = BOATS[name]
    fittings = tuple(
        Fitting(part, pick(part.colours, rng), pick(part.trim, rng))
        for part in boat.parts
        if rng.random() < part.chance
    )
    sizes = [float(rng.uniform(*pair)) for pair in (boat.length, boat.beam, boat.free)]
    colours = [pick(names, rng) for names in (boat.hulls, boat.decks, boat.boots, boat.rails, boat.inner)]
    return Form(boat, *sizes, *colours, fittings)


def pick(names: Sequence[str], rng: np.random.Generator) -> Rgb:
    """One of the named colours, a little off."""
    red, green, blue = PALETTE[names[int(rng.integers(len(names)))]]
    gain, tone = rng.uniform(0.85, 1.1), rng.normal(0, 5)
    return red * gain + tone, green * gain, blue * gain - tone


def mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


class Brush:
    """Paints faces given in metres onto a transparent layer."""

    def __init__(self, size: tuple[int, int], pose: Pose, corner: tuple[int, int]) -> None:
        self.pose = replace(pose, u=pose.u - corner[0], v=pose.v - corner[1])
        self.layer = Image.new("RGBA", (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE))
        self.pen = ImageDraw.Draw(self.layer)

    def at(self, point: Point) -> Pixel:
        u, v = self.pose.pixel(point)
        return u * SUPERSAMPLE, v * SUPERSAMPLE

    def ink(self, colour: Rgb, light: float) -> tuple[int, int, int, int]:
        red, green, blue = (
            min(255, max(0, int(c * light * tint))) for c, tint in zip(colour, self.pose.tint, strict=True)
        )
        return red, green, blue, 255

    def face(self, points: Iterable[Point], colour: Rgb, normal: Point = (0, 0, 1)) -> None:
        self.pen.polygon([self.at(p) for p in points], self.ink(colour, self.pose.light(normal)))

    def line(self, points: Iterable[Point], colour: Rgb, metres: float) -> None:
        width = max(1, round(metres * self.pose.scale * SUPERSAMPLE))
        ink = self.ink(colour, self.pose.light((0, 0.7, 0.7)))
        self.pen.line([self.at(p) for p in points], ink, width, joint="curve")

    def dot(self, point: Point, radius: float, colour: Rgb, tall: float = 1.0) -> None:
        u, v = self.at(point)
        r = max(1.0, radius * self.pose.scale * SUPERSAMPLE)
        self.pen.ellipse(
            (u - r, v - r * tall, u + r, v + r * tall), self.ink(colour, self.pose.light((0, 0.7, 0.7)))
        )

    def box(self, low: Point, high: Point, colour: Rgb, top: Rgb, rake: float = 0.0, inset: float = 0.0) -> None:
        """A box; its top is `inset` narrower than its foot and leans back by `rake` at the front."""
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


def paint(
    form: Form, pose: Pose, frame: tuple[int, int], rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int]]:
    """The boat on a transparent RGBA layer, cut to the frame (width, height), and the layer's top left corner."""
    reach, tall = form.length / 2 + 1.5, 0.15 * form.length + 2
    left, right = (min(frame[0], max(0, int(pose.u + side * reach * pose.scale))) for side in (-1, 1))
    top = min(frame[1], max(0, int(pose.v - (tall + 3) * pose.scale)))
    bottom = min(frame[1], max(0, int(pose.v + tall * pose.scale)))
    brush = Brush((max(1, right - left), max(1, bottom - top)), pose, (left, top))
    hull_back(brush, form)
    for fitting in form.fittings:
        if fitting.part.kind not in ON_THE_HULL:
            KINDS[fitting.part.kind](brush, form, fitting, rng)
    hull_front(brush, form, rng)
    for fitting in form.fittings:
        if fitting.part.kind in ON_THE_HULL:
            KINDS[fitting.part.kind](brush, form, fitting, rng)
    return brush.layer.reduce(SUPERSAMPLE), (left, top)


def hull_back(brush: Brush, form: Form) -> None:
    """Transom, deck and the inside of an open hull: all that the parts stand before."""
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
    """The near gunwale and the near side."""
    if form.boat.well:
        outer, inner = form.outline()[:17], form.outline(0.86)[:17]
        brush.face([*outer, *reversed(inner)], form.deck)
    wear = rng.uniform(0.94, 1.04, 16).tolist()
    for (t0, t1), worn in zip(zip(STATIONS, STATIONS[1:], strict=False), wear, strict=True):
        run, out = form.x(t1) - form.x(t0), form.half(t0) - form.half(t1)
        size = math.hypot(run, out)
        normal = (out / size, run / size, 0.0)
        for low, high, colour in ((0.0, 0.24, form.boot), (0.22, 1.0, form.hull)):
            quad = (form.side(t0, low), form.side(t1, low), form.side(t1, high), form.side(t0, high))
            brush.face(quad, mix((0, 0, 0), colour, worn), normal)
    brush.line([form.side(t, 0.97) for t in STATIONS], form.rail, 0.1)
    if rng.random() < 0.5:
        start = rng.uniform(0.6, 0.8)
        for i in range(int(rng.integers(3, 7))):
            t = start + i * 0.25 / form.length
            brush.line([form.side(t, 0.55), form.side(t, 0.75)], mix(form.hull, form.rail, 0.8), 0.1)


def house(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
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


def windows(
    brush: Brush, span: Pixel, y: float, rise: Pixel, count: int, rng: np.random.Generator
) -> None:
    z0, height = rise
    step = (span[1] - span[0]) / max(1, count)
    bottom, gap = rng.uniform(0.38, 0.46), rng.uniform(0.1, 0.2) * step
    for i in range(count):
        a, b = span[0] + i * step + gap, span[0] + (i + 1) * step - gap
        quad = [(a, y, z0 + height * bottom), (b, y, z0 + height * bottom),
                (b, y, z0 + height * 0.86), (a, y, z0 + height * 0.86)]  # fmt: skip
        brush.face(quad, mix(PALETTE["glass"], PALETTE["sky"], rng.uniform(0, 0.45) ** 2), (0, 1, 0))


def oval(x: float, a: float, b: float, z: float, power: float) -> list[Point]:
    """A rectangle with round corners, the rounder the nearer `power` is to 1."""
    turns = [2 * math.pi * i / 28 for i in range(28)]

    def bent(value: float) -> float:
        return math.copysign(abs(value) ** power, value)

    return [(x + a * bent(math.cos(r)), b * bent(math.sin(r)), z) for r in turns]


def roof(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
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
    x0, x1 = (form.x(t) for t in it.part.span)
    half = form.beam / 2 * it.part.width
    brush.box((x0, -half, form.free), (x1, half, form.free + it.part.height), it.colour, it.colour)


def people(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    part = it.part
    for _ in range(int(rng.integers(0, part.count + 1))):
        t, side = rng.uniform(*part.span), rng.uniform(-0.55, 0.55)
        person(brush, (form.x(t), side * form.half(t), form.floor(t)), pick(part.colours, rng), rng)


def person(brush: Brush, feet: Point, coat: Rgb, rng: np.random.Generator, seated: float = 0.5) -> None:
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
    t = rng.uniform(*it.part.span)
    x, z = form.x(t), form.sheer(t)
    reach = rng.uniform(-1.8, 1.2)
    person(brush, (x, 0.1, z), it.colour, rng, seated=0.0)
    hands = (x + 0.25, 0.2, z + 1.1)
    brush.line([(x, 0.1, z + 1.3), hands], it.colour, 0.12)
    blade = (x + reach, form.half(t) + 1.3, -0.1)
    brush.line([(x + 0.4, 0.2, z + 1.3), hands, blade], PALETTE["tan"], 0.08)


def crates(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
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
    """A tarpaulin over something, or loose goods: slices from the far side to the near one."""
    part = it.part
    z = form.free + part.base
    ts = np.linspace(*part.span, 13).tolist()
    ridge = np.convolve(rng.uniform(0.4, 1.0, 17), np.ones(5) / 5, "valid").tolist()
    for row in range(9):
        y = -0.9 + 1.8 * row / 8
        arch = math.sqrt(1 - y * y)
        fold = rng.uniform(0.96, 1.04, 13)
        crest = [
            (form.x(t), y * part.width * form.half(t), z + part.height * arch * r * f * min(1, 2 * k, 2 * (12 - k)))
            for k, (t, r, f) in enumerate(zip(ts, ridge, fold.tolist(), strict=True))
        ]
        foot = [(x, h, z - 0.1) for x, h, _ in reversed(crest)]
        brush.face([*crest, *foot], mix((0, 0, 0), it.colour, rng.uniform(0.94, 1.0)), (0, y, arch))


def bin_(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """An open container: a box whose top is a dark hole."""
    part = it.part
    (x0, x1), half = (form.x(t) for t in part.span), form.beam / 2 * part.width
    z0, z1 = form.free, form.free + part.height
    brush.box((x0, -half, z0), (x1, half, z1), it.colour, it.colour)
    inner = [(x0 + 0.2, -half + 0.2, z1), (x1 - 0.2, -half + 0.2, z1), (x1 - 0.2, half - 0.2, z1), (x0 + 0.2, half - 0.2, z1)]
    brush.face(inner, mix(it.trim, PALETTE["tan"], 0.3), (0, 0.8, 0.6))
    brush.face([(x, y, z) if y < 0 else (x, y, z) for x, y, z in inner[2:]] + [(x0 + 0.4, 0, z1), (x1 - 0.4, 0, z1)], mix(it.trim, PALETTE["void"], 0.7))
    for x in np.linspace(x0, x1, 6)[1:-1].tolist():
        brush.line([(x, half, z0), (x, half, z1)], mix(it.colour, (0, 0, 0), 0.25), 0.06)


def crane(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
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
    part = it.part
    x = form.x(sum(part.span) / 2)
    z = form.free * (0.4 if form.boat.well and form.boat.well[1] >= part.span[0] else 1.0) + part.base
    brush.line([(x - 0.4, 0, z), (x + 0.4, 0, z)], it.colour, 0.2)
    brush.line([(x, -0.4, z), (x, 0.4, z)], it.colour, 0.25)


def beacon(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    part = it.part
    z = form.free + part.base
    shine = mix(it.colour, (90, 150, 255), rng.uniform(0, 0.8))
    for y in ((-0.5, 0.5) if part.count > 1 else (0.0,)):
        brush.dot((form.x(part.span[0]), y, z - 0.05), 0.12, PALETTE["grey"], 0.6)
        brush.dot((form.x(part.span[0]), y, z + 0.08), 0.13, shine, 0.9)


def mast(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    x, z = form.x(it.part.span[0]), form.free + 0.6
    brush.line([(x, 0, z), (x - 0.3, 0, z + it.part.height)], it.colour, 0.05)
    brush.line([(x - 0.2, -0.5, z + 1.2), (x - 0.2, 0.5, z + 1.2)], it.colour, 0.1)


def screen(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    part = it.part
    (a, b), half, z = (form.x(t) for t in part.span), form.half(part.span[1]) * part.width, form.free
    edge = [(b, -half, z), (a, -half, z + part.height), (a, half, z + part.height), (b, half, z)]
    brush.face(edge, it.colour, (0.7, 0, 0.7))
    brush.face([(a - 0.5, half, z), (b, half, z), (a, half, z + part.height)], it.colour, (0, 1, 0))
    brush.line(edge, it.trim, 0.05)


def motor(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    x, z = form.x(0), form.free
    brush.line([(x - 0.25, 0, -0.2), (x - 0.25, 0, z)], PALETTE["dark"], 0.2)
    brush.box((x - 0.55, -0.22, z), (x, 0.22, z + 0.5), it.colour, mix(it.colour, PALETTE["grey"], 0.3), 0.1, 0.06)


def ferro(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    """The iron at a gondola's prow and the curl at its stern."""
    x, z = form.x(1.0), form.sheer(1.0)
    brush.line([(x - 0.5, 0, z - 0.3), (x, 0, z), (x + 0.02, 0, z + 0.5), (x + 0.22, 0, z + 0.5)], it.colour, 0.16)
    for k in range(4):
        brush.line([(x, 0, z + 0.08 * k), (x + 0.2, 0, z + 0.08 * k)], it.colour, 0.04)
    x, z = form.x(0.0), form.sheer(0.0)
    brush.line([(x + 0.7, 0, z - 0.25), (x, 0, z), (x - 0.05, 0, z + 0.35)], form.hull, 0.14)


def stripe(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    part = it.part
    start, stop = part.span
    if part.base:
        z, y = form.free * 0.4 + part.base, form.beam / 2 * part.width
        quad = [(form.x(t), y, z + h) for t, h in ((start, 0), (stop, 0), (stop, part.height), (start, part.height))]
        brush.face(quad, it.colour, (0, 1, 0))
        return
    ts = [start + (stop - start) * i / 12 for i in range(13)]
    low, high = 0.66 - part.height / 2 / form.free, 0.66 + part.height / 2 / form.free
    band = [form.side(t, low) for t in ts] + [form.side(t, high) for t in reversed(ts)]
    brush.face(band, it.colour, (0, 1, 0))


def tyres(brush: Brush, form: Form, it: Fitting, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, it.part.count + 1))):
        point = form.side(rng.uniform(*it.part.span), 0.72)
        brush.dot(point, 0.24, it.colour)
        brush.dot(point, 0.1, form.hull)


Painter = Callable[[Brush, Form, Fitting, np.random.Generator], None]
KINDS: dict[str, Painter] = {
    "house": house, "roof": roof, "void": void, "people": people, "oarsman": oarsman, "crates": crates,
    "heap": heap, "bin": bin_, "crane": crane, "cross": cross, "beacon": beacon, "mast": mast, "screen": screen,
    "motor": motor, "ferro": ferro, "stripe": stripe, "tyres": tyres,
}  # fmt: skip

"""The classes of boats of the built-in image set: what is fixed for each, and what varies.

Lengths are metres; a pair is a range to draw from, a tuple of names a choice of colours. The classes overlap
on purpose in size, build and colour, as they do on the canal.
"""

from __future__ import annotations

from dataclasses import dataclass

PALETTE: dict[str, tuple[float, float, float]] = {
    "white": (228, 230, 228), "cream": (212, 202, 176), "grey": (138, 144, 146), "dark": (50, 52, 56),
    "black": (26, 26, 29), "blue": (44, 84, 156), "navy": (30, 46, 86), "sky": (112, 152, 190),
    "green": (66, 122, 62), "olive": (84, 96, 62), "red": (170, 46, 38), "rust": (116, 72, 56),
    "orange": (220, 104, 36), "yellow": (222, 172, 44), "wood": (126, 86, 56), "tan": (178, 146, 108),
    "teal": (58, 122, 122), "glass": (44, 54, 62), "void": (40, 40, 42), "skin": (178, 130, 104),
    "cardboard": (170, 134, 94),
}  # fmt: skip
CLOTHES = ("dark", "navy", "white", "red", "grey", "sky", "olive", "cream", "black")
GOODS = ("cardboard", "white", "grey", "blue", "tan", "red", "green", "dark", "wood")
PALE = ("white", "cream")
GREENS = ("green", "green", "olive", "grey")
INSIDES = ("rust", "dark", "grey", "wood")


@dataclass(frozen=True)
class Part:
    """A part of a boat between two fractions of its length, counted from the stern."""

    kind: str  # a key of lagoon.parts.KINDS
    span: tuple[float, float]
    colours: tuple[str, ...]
    width: float = 0.8  # share of the beam
    height: float = 1.0  # metres
    base: float = 0.0  # metres above the deck
    count: int = 0  # windows, people, crates: at most
    trim: tuple[str, ...] = ("white",)  # roofs, stripes
    rake: float = 0.0  # metres the front leans back
    chance: float = 1.0


@dataclass(frozen=True)
class Boat:
    """A class of boats."""

    length: tuple[float, float]
    beam: tuple[float, float]
    free: tuple[float, float]  # the hull's height above the water
    hulls: tuple[str, ...]
    decks: tuple[str, ...]
    parts: tuple[Part, ...]  # painted in this order
    boots: tuple[str, ...] = ("dark", "rust", "black", "navy")  # the band at the water line
    rails: tuple[str, ...] = ("white", "dark", "wood", "grey")
    inner: tuple[str, ...] = ("tan", "grey", "wood", "cream")
    well: tuple[float, float] | None = None  # the share of the length that is open
    bow: float = 0.45  # the share of the length over which the hull narrows to the bow
    blunt: float = 2.0  # how full the bow is
    prow: float = 0.02  # the breadth of the bow as a share of the beam
    stern: float = 0.8  # the same of the stern
    quarter: float = 0.3  # the share of the length over which the hull narrows to the stern
    lift: tuple[float, float] = (0.0, 0.35)  # how far stern and bow rise above the middle
    overhang: float = 0.6  # how far the bow reaches beyond the water line
    wake: tuple[float, float] = (0.0, 1.0)  # how much foam it leaves


PEOPLE = Part("people", (0.15, 0.7), CLOTHES, count=3)
MOTOR = Part("motor", (0.0, 0.0), ("dark", "black", "white", "grey"))
CREW = Part("people", (0.06, 0.22), CLOTHES, count=2)
TYRES = Part("tyres", (0.15, 0.8), ("black",), count=4, chance=0.6)
BLUE_LIGHT = Part("beacon", (0.45, 0.5), ("blue",), base=1.55, chance=0.85)

BOATS: dict[str, Boat] = {
    "Alilaguna": Boat(
        (13, 16), (2.9, 3.3), (0.85, 1.05), ("white", "white", "cream"), ("white", "grey", "cream"),
        (
            Part("people", (0.04, 0.16), CLOTHES, count=3),
            Part("crates", (0.03, 0.14), ("orange", "red"), 0.6, 0.5, count=2, chance=0.7),
            Part("house", (0.17, 0.40), PALE, 0.84, 0.95, count=6, trim=("white", "grey")),
            Part("house", (0.56, 0.86), PALE, 0.8, 0.8, count=8, trim=PALE, rake=1.6),
            Part("people", (0.42, 0.54), CLOTHES, count=3),
            Part("house", (0.44, 0.58), PALE, 0.72, 1.6, count=2, trim=("white",), rake=0.5),
            Part("crates", (0.25, 0.34), ("orange", "grey"), 0.5, 0.35, 0.95, count=2, chance=0.5),
        ),
        boots=("yellow", "yellow", "yellow", "orange", "dark"), rails=("dark", "white", "yellow"),
        bow=0.35, stern=0.85, lift=(0.0, 0.3), overhang=1.2, wake=(0.2, 1.0),
    ),
    "Ambulanza": Boat(
        (7.5, 9.5), (2.2, 2.6), (0.75, 0.95), ("white", "white", "yellow"), PALE,
        (
            Part("people", (0.04, 0.2), ("orange", "red", "orange", "dark"), count=2),
            Part("house", (0.22, 0.66), ("white", "white", "cream"), 0.76, 1.3, count=4, rake=0.9),
            Part("stripe", (0.04, 0.88), ("orange", "orange", "red", "yellow"), height=0.3, chance=0.85),
            Part("stripe", (0.3, 0.56), ("orange", "red"), height=0.16, base=0.25, width=0.76, chance=0.7),
            Part("cross", (0.36, 0.44), ("red", "orange"), 0.3, 0.4, 1.36, chance=0.65),
            Part("beacon", (0.5, 0.56), ("blue", "blue", "sky"), base=1.4, count=2, chance=0.9),
            Part("motor", (0.0, 0.0), ("dark", "white"), chance=0.5),
        ),
        well=(0.03, 0.2), boots=("white", "orange", "dark", "navy"), bow=0.45, stern=0.85, wake=(0.2, 1.0),
    ),
    "Barchino": Boat(
        (4.4, 6.4), (1.5, 1.9), (0.4, 0.55), ("white", "grey", "blue", "sky", "wood", "teal", "cream", "red"),
        ("white", "tan", "grey", "wood", "sky"),
        (
            Part("crates", (0.35, 0.7), GOODS, 0.5, 0.35, -0.2, count=2, chance=0.35),
            Part("people", (0.08, 0.55), CLOTHES, count=3),
            MOTOR,
        ),
        well=(0.06, 0.78), bow=0.5, blunt=1.9, lift=(0.0, 0.28), overhang=0.45, wake=(0.0, 0.8),
    ),
    "Gondola": Boat(
        (10.4, 11.2), (1.35, 1.55), (0.42, 0.5), ("black",), ("black", "dark"),
        (
            Part("heap", (0.2, 0.3), ("red", "green", "navy", "dark"), 0.5, 0.25, chance=0.7),
            Part("crates", (0.34, 0.44), ("red", "dark", "black", "wood"), 0.7, 0.5, -0.2, count=1),
            Part("people", (0.36, 0.62), CLOTHES, count=5),
            Part("crates", (0.55, 0.72), ("dark", "wood", "red"), 0.5, 0.3, -0.25, count=2),
            Part("ferro", (0.97, 1.0), ("grey", "white")),
            Part("oarsman", (0.14, 0.2), ("dark", "black", "white")),
        ),
        boots=("black",), rails=("black", "dark"), inner=("red", "dark", "wood", "navy"), well=(0.24, 0.72),
        bow=0.52, blunt=1.6, stern=0.05, quarter=0.5, lift=(0.8, 0.75), overhang=1.4, wake=(0.0, 0.12),
    ),
    "Lanciafino10m": Boat(
        (7.8, 10), (2.1, 2.5), (0.7, 0.95), ("wood", "white", "navy", "wood", "cream", "blue"),
        ("wood", "cream", "white"),
        (
            Part("people", (0.06, 0.28), CLOTHES, count=3),
            Part("house", (0.3, 0.66), ("wood", "white", "wood", "cream"), 0.76, 1.15, count=5,
                 trim=("white", "cream", "wood"), rake=0.7),
            Part("people", (0.66, 0.72), CLOTHES, count=1),
            Part("stripe", (0.02, 0.95), ("white", "cream", "navy"), height=0.14, chance=0.4),
            Part("beacon", (0.45, 0.5), ("white", "yellow"), base=1.25, chance=0.3),
        ),
        well=(0.04, 0.28), bow=0.5, stern=0.82, overhang=0.9, wake=(0.1, 1.0),
    ),
    "Motobarca": Boat(
        (8.5, 12), (2.2, 2.8), (0.65, 0.95),
        ("white", "blue", "green", "grey", "wood", "teal", "navy", "red"), ("white", "grey", "tan", "wood"),
        (
            Part("house", (0.08, 0.26), ("white", "wood", "cream", "sky"), 0.62, 1.55, count=2,
                 trim=("white", "grey", "wood"), chance=0.7),
            CREW,
            Part("crates", (0.34, 0.78), GOODS, 0.6, 0.7, -0.3, count=5, chance=0.5),
            Part("heap", (0.36, 0.74), ("blue", "green", "grey", "tan", "rust"), 0.66, 0.6, -0.2, chance=0.4),
            PEOPLE, TYRES,
        ),
        well=(0.3, 0.8), bow=0.42, stern=0.66, quarter=0.2, lift=(0.08, 0.5), wake=(0.0, 0.8),
    ),
    "Motopontonerettangolare": Boat(
        (14, 20), (4.6, 5.8), (0.9, 1.3), ("green", "dark", "rust", "navy", "grey", "blue"),
        ("rust", "grey", "tan", "dark", "wood"),
        (
            Part("house", (0.03, 0.17), ("white", "cream", "sky", "green"), 0.55, 2.2, count=3,
                 trim=("white", "grey")),
            Part("crates", (0.5, 0.92), GOODS, 0.7, 0.9, count=7, chance=0.8),
            Part("heap", (0.55, 0.9), ("tan", "grey", "rust", "cardboard"), 0.7, 0.9, chance=0.45),
            Part("crane", (0.24, 0.34), ("orange", "yellow", "red", "rust", "blue"), height=3.2),
            Part("people", (0.2, 0.8), ("orange", "navy", "yellow", "dark"), count=3), TYRES,
        ),
        rails=("dark", "rust", "grey"), bow=0.08, blunt=3.0, prow=0.9, stern=0.92, quarter=0.08,
        lift=(0.0, 0.1), overhang=0.9, wake=(0.0, 0.4),
    ),
    "MotoscafoACTV": Boat(
        (16, 20), (3.0, 3.6), (0.8, 1.0), ("white", "cream", "dark"), ("white", "grey", "cream"),
        (
            Part("people", (0.02, 0.08), CLOTHES, count=2),
            Part("house", (0.08, 0.44), PALE, 0.84, 1.2, count=8, trim=PALE, rake=0.2),
            Part("house", (0.52, 0.84), PALE, 0.82, 1.0, count=7, trim=PALE, rake=0.9),
            Part("people", (0.44, 0.54), CLOTHES, count=4),
            Part("house", (0.5, 0.6), PALE, 0.66, 1.7, count=2, trim=PALE, rake=0.3),
            Part("crates", (0.88, 0.93), ("orange", "red"), 0.4, 0.4, count=1, chance=0.6),
        ),
        boots=("black", "dark", "rust"), rails=("dark", "black"), bow=0.34, stern=0.45, quarter=0.16,
        lift=(0.0, 0.35), overhang=1.0, wake=(0.0, 0.8),
    ),
    "Mototopo": Boat(
        (10.5, 15), (2.4, 3.0), (0.75, 1.05),
        ("white", "white", "grey", "blue", "sky", "green", "cream", "wood", "teal"),
        ("white", "grey", "tan", "cream"),
        (
            Part("crates", (0.32, 0.8), GOODS, 0.66, 0.8, -0.45, count=9, chance=0.6),
            Part("heap", (0.36, 0.78), ("blue", "green", "grey", "tan", "rust", "orange"), 0.7, 0.7, -0.3,
                 chance=0.25),
            Part("house", (0.14, 0.24), ("white", "cream", "sky", "grey"), 0.5, 1.5, count=1,
                 trim=("white", "grey"), chance=0.55),
            CREW,
            Part("people", (0.3, 0.6), ("orange", "navy", "white", "dark"), count=2, chance=0.5),
            Part("crane", (0.28, 0.31), ("orange", "red", "white"), height=2.0, chance=0.1),
            Part("motor", (0.0, 0.0), ("white", "dark", "grey"), chance=0.7), TYRES,
        ),
        well=(0.3, 0.82), bow=0.34, stern=0.7, quarter=0.12, lift=(0.0, 0.45), overhang=0.9, wake=(0.0, 0.9),
    ),
    "Patanella": Boat(
        (5.2, 8), (1.8, 2.3), (0.5, 0.75), ("white", "white", "grey", "navy", "sky", "cream", "wood"),
        ("white", "white", "cream", "grey", "wood"),
        (
            Part("heap", (0.4, 0.8), ("blue", "navy", "cream", "rust", "grey", "teal"), 0.7, 0.4, chance=0.4),
            Part("people", (0.1, 0.5), CLOTHES, count=3),
            Part("screen", (0.5, 0.56), ("glass", "sky"), 0.7, 0.55, chance=0.6),
            Part("stripe", (0.02, 0.94), ("blue", "red", "navy", "grey"), height=0.12, chance=0.3),
            Part("motor", (0.0, 0.0), ("dark", "black", "white", "grey"), chance=0.9),
        ),
        well=(0.06, 0.62), bow=0.55, blunt=1.8, overhang=0.8, wake=(0.1, 1.0),
    ),
    "Polizia": Boat(
        (6.8, 10), (2.2, 2.6), (0.7, 0.95), ("blue", "blue", "navy", "white", "sky"),
        ("white", "cream", "sky"),
        (
            Part("people", (0.05, 0.24), ("navy", "dark", "blue"), count=3),
            Part("house", (0.26, 0.62), ("white", "white", "sky", "blue"), 0.74, 1.25, count=3,
                 trim=("white", "white", "sky"), rake=0.9),
            Part("stripe", (0.02, 0.94), ("white", "sky", "white", "red"), height=0.22, chance=0.85),
            BLUE_LIGHT, Part("mast", (0.3, 0.34), ("white", "dark"), height=2.4, chance=0.6),
            Part("motor", (0.0, 0.0), ("dark", "white"), chance=0.5),
        ),
        well=(0.04, 0.26), boots=("white", "dark", "red", "navy"), bow=0.48, stern=0.85, overhang=0.8,
        wake=(0.1, 1.0),
    ),
    "Raccoltarifiuti": Boat(
        (11, 15.5), (2.8, 3.6), (0.85, 1.1), ("green", "green", "green", "olive", "grey"),
        ("green", "grey", "olive", "rust"),
        (
            Part("house", (0.03, 0.15), ("white", "cream", "white", "green"), 0.6, 1.8, count=2,
                 trim=("white", "grey")),
            Part("bin", (0.2, 0.5), GREENS, 0.8, 0.75, trim=INSIDES),
            Part("bin", (0.58, 0.88), GREENS, 0.78, 0.75, trim=INSIDES, chance=0.9),
            Part("heap", (0.24, 0.46), ("grey", "dark", "white", "tan"), 0.6, 0.5, 0.5, chance=0.4),
            Part("crane", (0.52, 0.56), ("orange", "rust", "red", "yellow"), height=2.0, chance=0.8),
            Part("people", (0.14, 0.9), ("orange", "navy", "green"), count=2), TYRES,
        ),
        rails=("green", "dark", "grey"), bow=0.24, blunt=2.4, prow=0.4, stern=0.85, quarter=0.12,
        overhang=0.7, wake=(0.0, 0.7),
    ),
    "Sandoloaremi": Boat(
        (5, 8), (1.2, 1.6), (0.32, 0.45), ("wood", "black", "blue", "green", "white", "teal", "cream"),
        ("wood", "tan", "white", "grey"),
        (
            Part("people", (0.35, 0.7), CLOTHES, count=2, chance=0.6),
            Part("oarsman", (0.12, 0.24), CLOTHES),
            Part("oarsman", (0.7, 0.8), CLOTHES, chance=0.35),
        ),
        well=(0.2, 0.76), bow=0.5, blunt=1.8, stern=0.35, quarter=0.45, lift=(0.15, 0.25),
        overhang=0.7, wake=(0.0, 0.15),
    ),
    "Topa": Boat(
        (5.5, 8.5), (1.7, 2.2), (0.45, 0.65), ("wood", "white", "blue", "green", "cream", "teal", "grey"),
        ("wood", "tan", "white", "grey", "cream"),
        (
            Part("crates", (0.3, 0.62), GOODS, 0.6, 0.5, -0.25, count=4, chance=0.5),
            Part("heap", (0.3, 0.64), ("blue", "green", "tan", "grey"), 0.6, 0.4, -0.15, chance=0.25),
            Part("people", (0.06, 0.5), CLOTHES, count=3),
            Part("motor", (0.0, 0.0), ("dark", "black", "grey", "white"), chance=0.9), TYRES,
        ),
        well=(0.08, 0.66), bow=0.46, blunt=2.3, stern=0.74, lift=(0.04, 0.32), overhang=0.5, wake=(0.0, 0.8),
    ),
    "VaporettoACTV": Boat(
        (20, 24.5), (3.9, 4.5), (0.8, 1.0), ("white", "cream", "dark"), ("grey", "cream", "white"),
        (
            Part("crates", (0.02, 0.05), ("orange", "red"), 0.5, 0.6, count=2, chance=0.6),
            Part("crates", (0.93, 0.97), ("orange", "red"), 0.3, 0.6, count=1, chance=0.5),
            Part("void", (0.12, 0.87), ("void",), 0.7, 1.8),
            Part("people", (0.36, 0.6), CLOTHES, count=12),
            Part("people", (0.04, 0.1), CLOTHES, count=3),
            Part("house", (0.08, 0.4), PALE, 0.94, 1.85, count=7),
            Part("house", (0.56, 0.89), PALE, 0.94, 1.85, count=7, rake=0.3),
            Part("people", (0.9, 0.96), CLOTHES, count=2),
            Part("roof", (0.05, 0.93), ("white", "white", "cream", "grey"), 0.98, 0.25, 1.85),
            Part("stripe", (0.38, 0.5), ("yellow", "dark"), height=0.25, chance=0.5), TYRES,
        ),
        boots=("black", "dark", "rust"), rails=("dark", "black", "rust"), bow=0.26, blunt=2.2, stern=0.3,
        quarter=0.16, lift=(0.1, 0.4), overhang=0.8, wake=(0.0, 0.7),
    ),
}  # fmt: skip

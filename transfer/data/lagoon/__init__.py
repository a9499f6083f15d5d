"""The built-in image set: boats on a Venetian canal, drawn by the program and saved as JPEG files.

It imitates a real set of photographs: a few large classes and many small ones, boats that differ in details, and
much in every picture that is unrelated to its class.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from transfer.data.lagoon import processes, shore
from transfer.data.lagoon import scenery as canvas
from transfer.data.lagoon.boats import BOATS
from transfer.data.lagoon.hulls import Form, Pose, build
from transfer.data.lagoon.parts import paint
from transfer.data.lagoon.scenery import Scene
from transfer.data.lagoon.waves import HEIGHT, WIDTH
from transfer.data.random_splits import SPLITS
from transfer.system import files
from transfer.system.hardware import usable_cores
from transfer.system.thread_pools import StartedPool

__all__ = ["CLASSES", "COUNTS", "HEIGHT", "VERSION", "WIDTH", "draw", "make"]

VERSION = 1  # raised whenever the bytes of the files change
QUALITY = 90
LEAST_EACH = 16  # files: a process starts in the time in which it draws about as many

# Images in train, valid and test: the shares of the real set, with at least 6, 3 and 4 of each class.
COUNTS: dict[str, tuple[int, int, int]] = {
    "Alilaguna": (15, 4, 7),
    "Ambulanza": (11, 3, 6),
    "Barchino": (15, 4, 7),
    "Gondola": (6, 3, 4),
    "Lanciafino10m": (6, 3, 4),
    "Motobarca": (28, 6, 13),
    "Motopontonerettangolare": (6, 3, 4),
    "MotoscafoACTV": (6, 3, 4),
    "Mototopo": (112, 25, 55),
    "Patanella": (36, 8, 17),
    "Polizia": (9, 3, 5),
    "Raccoltarifiuti": (12, 3, 6),
    "Sandoloaremi": (6, 3, 4),
    "Topa": (10, 3, 5),
    "VaporettoACTV": (122, 27, 59),
    "Water": (116, 27, 56),
}
CLASSES: tuple[str, ...] = tuple(sorted(COUNTS))


def draw(name: str, rng: np.random.Generator) -> Image.Image:
    """Draw a picture of a class, with random choices from `rng`.

    Parameters
    ----------
    name : str
        One of `CLASSES`.
    rng : numpy.random.Generator

    Returns
    -------
    PIL.Image.Image
        RGB, `WIDTH` x `HEIGHT` pixels.
    """
    scene = canvas.scene(rng)
    picture, surface = canvas.water(rng, scene)
    if scene.quay:
        shore.quay(picture, rng, scene, surface)
    if scene.glitter:
        canvas.glitter(picture, rng, scene, surface)
    for form, pose, force in fleet(name, rng, scene):
        canvas.shadow(picture, surface, form, pose)
        canvas.wake(picture, rng, surface, form, pose, force)
        canvas.lay(picture, surface, *paint(form, pose, (WIDTH, HEIGHT), rng), 0.03)
    shore.clutter(picture, rng, scene, surface, empty=name not in BOATS)
    return canvas.expose(picture, rng, scene)


def fleet(name: str, rng: np.random.Generator, scene: Scene) -> list[tuple[Form, Pose, float]]:
    """Choose the boats of a picture, the farthest first, each with its pose and the strength of its wake."""
    boats: list[tuple[Form, Pose, float]] = []
    others = sorted(BOATS)
    if scene.quay > 12 and rng.random() < 0.5:
        boats += [moored(others, rng, scene) for _ in range(int(rng.integers(1, 3)))]
    if rng.random() < 0.18:
        boats.append(cut_off(others[int(rng.integers(len(others)))], rng, scene))
    if name in BOATS:
        boats.append(subject(build(name, rng), rng, scene))
    elif rng.random() < 0.3:
        boats.append(gone(others[int(rng.integers(len(others)))], rng, scene))
    return boats


def subject(form: Form, rng: np.random.Generator, scene: Scene) -> tuple[Form, Pose, float]:
    """Place the boat that gives a picture its class, nearly all of it inside the frame."""
    flip, yaw = int(rng.choice((-1, 1))), float(rng.normal(0, 0.13))
    v = float(np.clip(rng.normal(134, 10), 100, 172))
    pose = scene.pose(0.0, v, flip, yaw)
    scale = min(pose.scale, float(rng.uniform(560, 700)) / form.length)
    reach = 0.47 * form.length * scale
    u = float(np.clip(rng.normal(WIDTH / 2, 60), reach, WIDTH - reach))
    return form, scene.pose(u, v, flip, yaw, scale), float(rng.uniform(*form.boat.wake))


def cut_off(name: str, rng: np.random.Generator, scene: Scene) -> tuple[Form, Pose, float]:
    """Place a boat that an edge of the frame cuts off except for one end."""
    form = build(name, rng)
    flip, yaw, v = int(rng.choice((-1, 1))), float(rng.normal(0, 0.13)), float(rng.uniform(40, 230))
    seen, reach = float(rng.uniform(10, 90)), form.length / 2 * scene.pose(0.0, v, flip, yaw).scale
    u = seen - reach if rng.random() < 0.5 else WIDTH - seen + reach
    return form, scene.pose(u, v, flip, yaw), float(rng.uniform(*form.boat.wake))


def gone(name: str, rng: np.random.Generator, scene: Scene) -> tuple[Form, Pose, float]:
    """Place a boat outside the frame, so that only its wake is visible."""
    form = build(name, rng)
    flip, v = int(rng.choice((-1, 1))), float(rng.uniform(60, 210))
    pose = scene.pose(0.0, v, flip, float(rng.normal(0, 0.1)))
    away = WIDTH / 2 + form.length / 2 * pose.scale + float(rng.uniform(4, 120))
    return form, replace(pose, u=WIDTH / 2 + flip * away), float(rng.uniform(0.5, 1))


def moored(names: list[str], rng: np.random.Generator, scene: Scene) -> tuple[Form, Pose, float]:
    """Place a small boat at the quay."""
    small = [name for name in names if BOATS[name].length[0] < 9]
    form = build(small[int(rng.integers(len(small)))], rng)
    u = float(rng.uniform(0, WIDTH))
    v = scene.quay + scene.slope * (u - WIDTH / 2) + float(rng.uniform(2, 12))
    return form, scene.pose(u, v, 1, float(rng.normal(0, 0.05)), float(rng.uniform(8, 13))), 0.0


def plan(root: Path, seed: int) -> list[tuple[Path, str, tuple[int, ...]]]:
    """List the files of a set below `root`: path, class, and seed sequence of the random numbers."""
    return [
        (root / part / name / f"{i:04d}.jpg", name, (seed, split, kind, i))
        for split, part in enumerate(SPLITS)
        for kind, name in enumerate(CLASSES)
        for i in range(COUNTS[name][split])
    ]


def encode(name: str, key: tuple[int, ...]) -> memoryview:
    """Draw one picture and return the bytes of its file; its random numbers do not depend on other files."""
    rng = np.random.default_rng(np.random.SeedSequence(key))
    data = io.BytesIO()
    draw(name, rng).save(data, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return data.getbuffer()


def save(path: Path, name: str, key: tuple[int, ...]) -> None:
    """Draw one file and write it atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, encode(name, key))


def make(folder: Path, *, seed: int = 0, on_progress: Callable[[int, int], None] | None = None) -> Path:
    """Draw the missing files of the set.

    The same seed gives the same bytes, so it does not matter which process draws which file, or when, or whether two
    draw it at once.

    Parameters
    ----------
    folder : Path
        The set lies in a folder below.
    seed : int
    on_progress : callable, optional
        Called with the number of files drawn and the number that were missing.

    Returns
    -------
    Path
        The folder with train/, valid/ and test/, each with a folder of JPEG files for every class.
    """
    root = folder / f"lagoon-v{VERSION}-seed{seed}"
    missing = [job for job in plan(root, seed) if not job[0].exists()]
    n = usable_cores()
    if on_progress and missing:
        on_progress(0, len(missing))
    with (
        processes.started(min(n, len(missing) // LEAST_EACH), save) as (save_one, threads),
        StartedPool(threads or n) as pool,
    ):
        for done, _ in enumerate(pool.map(lambda job: save_one(*job), missing), start=1):
            if on_progress:
                on_progress(done, len(missing))
    return root

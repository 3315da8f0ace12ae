"""A drawn face that expresses the emotion with mouth, brows and eyes, as frames of a video.

In: a trial's plan and its speech. Out: :func:`face_frames`, (height, width, 3) uint8 RGB one by one. Pillow draws at
twice the size, which is then halved. A face has few distinct states (level of the expression, opening of the mouth, a
blink), so each is drawn once per trial; head sway is a moving crop and sensor noise is added last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from eavdash.demo.plan import DemoSize, TrialPlan, envelope, random
from eavdash.demo.voice import Syllable


@dataclass(frozen=True)
class FaceShape:
    """The shape of a facial expression; lengths in units: 1 / 240 of the frame's height, times :data:`ZOOM`."""

    mouth_curve: float = 0.0  # corners up, units
    mouth_width: float = 24.0  # half
    brow_slope: float = 0.0  # inner end down, units
    brow_height: float = 0.0  # up, units
    eye_opening: float = 8.0  # half


FACES = {
    "Neutral": FaceShape(),
    "Sadness": FaceShape(mouth_curve=-15.0, mouth_width=22.0, brow_slope=-10.0, brow_height=2.0, eye_opening=5.0),
    "Anger": FaceShape(mouth_curve=-5.0, mouth_width=14.0, brow_slope=14.0, brow_height=-6.0, eye_opening=11.0),
    "Happiness": FaceShape(mouth_curve=18.0, mouth_width=36.0, brow_slope=0.0, brow_height=7.0, eye_opening=7.0),
    "Calmness": FaceShape(mouth_curve=6.0, mouth_width=26.0, brow_slope=-3.0, brow_height=-2.0, eye_opening=1.5),
}
_PART = {"mouth": "mouth", "brow": "brows", "eye": "eyes"}
#: How far the parts reach in any expression (left, top, right, bottom), across from the head's centre or from each eye.
REGIONS = {"mouth": (-40, 28, 40, 68), "brows": (-18, -50, 18, -10), "eyes": (-18, -26, 18, 3)}
JITTER = {"mouth_curve": 0.8, "mouth_width": 0.6, "brow_slope": 0.8, "brow_height": 0.6, "eye_opening": 0.3}
ZOOM = 1.2  # the camera is close
MARGIN = 12  # units around the frame for the head's sway
PATCH = (-60, -56, 60, 72)  # the part of the face that moves, around the head's centre, units
LEVELS = 8  # of an expression between off and on; of the mouth between closed and open
SENSOR = 6  # grey values of noise

SKIN = ((241, 205, 178), (224, 172, 135), (198, 140, 98), (150, 98, 66), (112, 72, 50), (234, 190, 158))
HAIR = ((40, 30, 26), (92, 60, 38), (150, 110, 60), (70, 70, 74), (120, 50, 30))
CLOTHES = ((60, 80, 130), (130, 60, 66), (70, 110, 84), (110, 96, 140), (90, 90, 96))
WALLS = ((176, 190, 200), (196, 186, 170), (160, 176, 160), (186, 178, 196), (150, 160, 176))


@dataclass(frozen=True)
class Appearance:
    """A subject's appearance, constant over trials; lengths in units."""

    skin: tuple[int, ...]
    hair: tuple[int, ...]
    clothes: tuple[int, ...]
    wall: tuple[int, ...]
    half_width: float
    half_height: float
    fringe: float
    long_hair: bool
    eye_distance: float
    centre: tuple[float, float]


def markers(emotion: str) -> dict[str, Any]:
    """The markers of an emotion: the parts of the face that it changes ("place")."""
    own, plain = dataclasses.asdict(FACES[emotion]), dataclasses.asdict(FaceShape())
    changed = [_PART[name.split("_")[0]] for name in own if own[name] != plain[name]]
    return {"place": list(dict.fromkeys(changed))}


def regions(person: Appearance, size: DemoSize) -> dict[str, list[list[float]]]:
    """Boxes of the parts of the face (left, top, right, bottom) in fractions of the frame's width and height."""
    unit = ZOOM * size.height / 240

    def box(x: float, edges: tuple[int, ...]) -> list[float]:
        left, top, right, bottom = edges
        across = [size.width / 2 + unit * (person.centre[0] + x + edge) for edge in (left, right)]
        down = [size.height / 2 + unit * (person.centre[1] + edge) for edge in (top, bottom)]
        corners = (across[0] / size.width, down[0] / size.height, across[1] / size.width, down[1] / size.height)
        return [round(corner, 4) for corner in corners]

    sides = (-person.eye_distance, person.eye_distance)
    return {name: [box(x, edges) for x in ((0.0,) if name == "mouth" else sides)] for name, edges in REGIONS.items()}


def appearance(seed: int, subject: int) -> Appearance:
    """Draw the subject's appearance."""
    rng = random(seed, subject, "looks")

    def colour(choices: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
        chosen = np.array(choices[int(rng.integers(len(choices)))]) + rng.integers(-8, 9, 3)
        return tuple(int(v) for v in np.clip(chosen, 10, 240))

    return Appearance(
        skin=colour(SKIN),
        hair=colour(HAIR),
        clothes=colour(CLOTHES),
        wall=colour(WALLS),
        half_width=rng.uniform(62, 72),
        half_height=rng.uniform(78, 86),
        fringe=rng.uniform(15, 22),
        long_hair=bool(rng.uniform() < 0.5),
        eye_distance=rng.uniform(25, 29),
        centre=(rng.uniform(-4, 4), rng.uniform(-4, 2)),
    )


def face_frames(
    plan: TrialPlan, appearance: Appearance, speech: list[Syllable], size: DemoSize
) -> Iterator[np.ndarray]:
    """Draw the frames of one trial, each (height, width, 3) uint8 RGB."""
    rng = plan.rng("face")
    frames = round(size.seconds * size.fps) + int(rng.integers(size.extra_frames + 1))
    times = np.arange(frames) / size.fps
    expression = plan.expressions.get("vision")
    level = np.round(LEVELS * envelope(expression, times, ramp=0.7)).astype(int)
    mouth = np.round(LEVELS * _mouth(speech, times)).astype(int)
    closed = np.zeros(frames, bool)
    for moment in rng.uniform(0, size.seconds, rng.poisson(size.seconds / 5)):
        closed |= np.abs(times - moment) < 0.08
    jitter = {name: float(rng.normal(0, sd)) for name, sd in JITTER.items()}
    light = rng.uniform(0.985, 1.015) * (1 + np.array([0.004, 0.0, -0.004]) * rng.normal())
    artist = _Artist(appearance, size, (rng.normal(0, 0.6), rng.normal(0, 0.5)), light)
    sway = _sway(rng, times, size, idle=not plan.speaking)
    noise = rng.integers(0, SENSOR + 1, (size.height + 32, size.width + 32, 3), dtype=np.uint8)
    # Constant noise in listening trials lets the encoder skip static areas.
    grain = rng.integers(0, 33, (frames, 2)) if plan.speaking else np.zeros((frames, 2), int)
    for i in range(frames):
        share = level[i] / LEVELS * (expression.strength if expression else 0.0)
        shape = _blend(FACES[expression.emotion if expression else "Neutral"], share, jitter)
        canvas = artist.face((level[i], mouth[i], closed[i]), shape, mouth[i] / LEVELS, bool(closed[i]))
        x, y = sway[i]
        dx, dy = grain[i]
        yield canvas[y : y + size.height, x : x + size.width] + noise[dy : dy + size.height, dx : dx + size.width]


class _Artist:
    """Draws one trial's portrait once and the moving parts of the face once per state."""

    def __init__(self, appearance: Appearance, size: DemoSize, shift: tuple[float, float], light: np.ndarray) -> None:
        self.appearance = appearance
        self.scale = 2 * ZOOM * size.height / 240  # drawn at twice the size
        self.light = light
        width, height = (2 * (n + 2 * _margin(size)) for n in (size.width, size.height))
        self.centre = (
            width / 2 + self.scale * (appearance.centre[0] + shift[0]),
            height / 2 + self.scale * (appearance.centre[1] + shift[1]),
        )
        self.portrait = self._portrait(width, height)
        self.small = self.portrait.resize((width // 2, height // 2), Image.Resampling.BOX)
        self.states: dict[tuple[int, ...], np.ndarray] = {}

    def face(self, key: tuple[int, ...], shape: FaceShape, opening: float, closed: bool) -> np.ndarray:
        """Draw a state of the face, (height, width, 3) uint8 of the whole canvas, margins included."""
        if key not in self.states:
            # Even borders, so that the halved patch lies exactly on the halved portrait.
            left, top, right, bottom = (
                2 * round((self.centre[i % 2] + self.scale * edge) / 2) for i, edge in enumerate(PATCH)
            )
            patch = self.portrait.crop((left, top, right, bottom))
            self._features(ImageDraw.Draw(patch), (self.centre[0] - left, self.centre[1] - top), shape, opening, closed)
            canvas = self.small.copy()
            halved = patch.resize(((right - left) // 2, (bottom - top) // 2), Image.Resampling.BOX)
            canvas.paste(halved, (left // 2, top // 2))
            lit = np.asarray(canvas, dtype=np.float32) * self.light.astype(np.float32)
            self.states[key] = np.clip(lit, 0, 255 - SENSOR).astype(np.uint8)
        return self.states[key]

    def _portrait(self, width: int, height: int) -> Image.Image:
        """Wall, shoulders, hair, head, ears and nose."""
        image = Image.new("RGB", (width, height), self.appearance.wall)
        draw, person = ImageDraw.Draw(image), self.appearance
        w, h = person.half_width, person.half_height
        draw.ellipse(self._box(-w - 55, h + 8, w + 55, h + 150), fill=person.clothes)
        if person.long_hair:
            draw.rounded_rectangle(self._box(-w - 10, -h + 14, w + 10, h - 6), self.scale * 40, fill=person.hair)
        draw.ellipse(self._box(-w - 7, -h - 12, w + 7, h - 30), fill=person.hair)
        draw.rectangle(self._box(-22, h - 22, 22, h + 22), fill=_shade(person.skin, 0.9))
        for side in (-1, 1):
            draw.ellipse(self._box(side * w - 8, -10, side * w + 8, 18), fill=_shade(person.skin, 0.93))
        draw.ellipse(self._box(-w, -h, w, h), fill=person.skin)
        draw.chord(self._box(-w - 1, -h - 2, w + 1, -h + 4 * person.fringe), 195, 345, fill=person.hair)
        nose = [self._at(-2, -6), self._at(-8, 20), self._at(7, 21)]
        draw.line(nose, fill=_shade(person.skin, 0.78), width=round(2 * self.scale), joint="curve")
        return image

    def _features(
        self, draw: ImageDraw.ImageDraw, centre: tuple[float, float], shape: FaceShape, opening: float, closed: bool
    ) -> None:
        """Brows, eyes and mouth onto the patch."""
        s, person = self.scale, self.appearance

        def at(x: float, y: float) -> tuple[float, float]:
            return centre[0] + s * x, centre[1] + s * y

        for side in (-1, 1):
            eye, half = side * person.eye_distance, shape.eye_opening
            inner = at(eye - side * 13, -32 - shape.brow_height + shape.brow_slope)
            outer = at(eye + side * 14, -32 - shape.brow_height - shape.brow_slope / 2)
            draw.line([inner, outer], fill=_shade(person.hair, 0.8), width=round(8 * s))
            if closed or half < 1:
                draw.line([at(eye - 14, -12), at(eye + 14, -12)], fill=_shade(person.skin, 0.5), width=round(2 * s))
                continue
            draw.ellipse([*at(eye - 14, -12 - half), *at(eye + 14, -12 + half)], fill=(236, 236, 232))
            iris = min(half, 7.0)
            draw.ellipse([*at(eye - 7, -12 - iris), *at(eye + 7, -12 + iris)], fill=(44, 40, 44))
        along = np.linspace(-1, 1, 13)
        corner = 44 - shape.mouth_curve * (along**2 - 0.4)  # a parabola whose corners rise with the curve
        bow = 1 - along**2
        across = along * shape.mouth_width
        upper = [at(x, y - 4 * b - 1) for x, y, b in zip(across, corner, bow, strict=True)]
        lower = [at(x, y + (4 + 7 * opening) * b + 1) for x, y, b in zip(across, corner, bow, strict=True)]
        draw.polygon(upper + lower[::-1], fill=(70, 22, 28) if opening > 0.15 else (150, 58, 62))
        draw.line(upper, fill=(150, 58, 62), width=round(4 * s), joint="curve")
        draw.line(lower, fill=(150, 58, 62), width=round(4 * s), joint="curve")

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self.centre[0] + self.scale * x, self.centre[1] + self.scale * y

    def _box(self, left: float, top: float, right: float, bottom: float) -> list[float]:
        return [*self._at(left, top), *self._at(right, bottom)]


def _blend(target: FaceShape, share: float, jitter: dict[str, float]) -> FaceShape:
    plain = FaceShape()
    values = {
        name: (1 - share) * getattr(plain, name) + share * getattr(target, name) + jitter[name] for name in JITTER
    }
    return FaceShape(**values)


def _mouth(speech: list[Syllable], times: np.ndarray) -> np.ndarray:
    """Opening of the mouth (0 to 1) at each time: an arch over every syllable, independent of its loudness."""
    opening = np.zeros(len(times))
    for syllable in speech:
        along = (times - syllable.start) / (syllable.stop - syllable.start)
        inside = (along > 0) & (along < 1)
        opening[inside] = (0.5 + 0.125 * (4 - syllable.vowel)) * np.sin(np.pi * along[inside])
    return opening


def _sway(rng: np.random.Generator, times: np.ndarray, size: DemoSize, idle: bool) -> np.ndarray:
    """(frame, 2) int: left and top of the crop in pixels."""
    margin, unit = _margin(size), size.height / 240
    paths = []
    for reach in (2.0, 1.2):
        slow, fast = rng.uniform(0.08, 0.2), rng.uniform(0.3, 0.6)
        phase = rng.uniform(0, 2 * np.pi, 2)
        path = np.sin(2 * np.pi * slow * times + phase[0]) + 0.4 * np.sin(2 * np.pi * fast * times + phase[1])
        paths.append(margin + unit * reach * (path * (0.3 if idle else 1.0)))
    return np.clip(np.round(np.stack(paths, axis=1)), 0, 2 * margin).astype(int)


def _margin(size: DemoSize) -> int:
    return max(2, round(MARGIN * size.height / 240))


def _shade(colour: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple(int(value * factor) for value in colour)

"""Charts of an evaluation as SVG, drawn in the colours of the page around them: light, dark or printed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from training.evaluation.cases import REGIONS, Case
from training.evaluation.confidence import UNCERTAINTIES, When, histograms, type_histograms
from training.evaluation.geometry import AGREEMENT_DEVIATIONS
from training.evaluation.resampling import Numbers, wilson
from training.evaluation.sample import Sample

WIDTH, HEIGHT = 440, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 46
_SHAPES = {"benign": "circle", "malignant": "triangle"}
_DOUBTS = tuple(zip(UNCERTAINTIES, ("first", "second"), strict=True))
"""Each measure of uncertainty with the style of its curve."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """What runs along one side."""

    label: str
    span: Span
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1; what is outside of the span lies on its border."""
        low, high, value = (np.log(max(v, 1e-9)) if self.logarithmic else v for v in (*self.span, value))
        return float(np.clip((value - low) / (high - low), 0, 1))


@dataclass(frozen=True, slots=True)
class Chart:
    """Axes to draw on."""

    across: Axis
    up: Axis
    described: str
    """For those who cannot see it."""
    parts: list[str] = field(default_factory=list)

    def line(self, points: Iterable[tuple[float, float]], style: str, name: str = "") -> None:
        """Points joined, in a style of the page: `first`, `second`, `third`, `rule`."""
        placed = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self._at(*point) for point in points))
        self.parts.append(f'<polyline class="{style}" points="{placed}">{_title(name)}</polyline>')

    def dot(self, point: tuple[float, float], style: str, name: str = "") -> None:
        """A circle or a triangle, in a style of the page."""
        x, y = self._at(*point)
        if _SHAPES.get(style) == "triangle":
            shape = f'<path class="dot {style}" d="M{x:.1f} {y - 4.5:.1f}l4 7h-8z">{_title(name)}</path>'
        else:
            shape = f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="3.4">{_title(name)}</circle>'
        self.parts.append(shape)

    def text(self, point: tuple[float, float], words: str) -> None:
        """Words that end at a point, above it."""
        x, y = self._at(*point)
        self.parts.append(f'<text x="{x:.1f}" y="{y - 4:.1f}" text-anchor="end">{escape(words)}</text>')

    def svg(self) -> str:
        """The whole."""
        return "\n".join(
            [
                f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.described)}">',
                *self._frame(),
                *self.parts,
                "</svg>",
            ]
        )

    def _at(self, across: float, up: float) -> tuple[float, float]:
        x = _LEFT + self.across.place(across) * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - self.up.place(up) * (HEIGHT - _TOP - _BOTTOM)
        return x, y

    def _frame(self) -> Iterable[str]:
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        for tick in self.across.ticks:
            x, _ = self._at(tick, self.up.span[0])
            yield f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in self.up.ticks:
            _, y = self._at(self.across.span[0], tick)
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
            yield f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
        yield f'<text x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(self.across.label)}</text>'
        turned = f"translate(14 {middle_y}) rotate(-90)"
        yield f'<text transform="{turned}" text-anchor="middle">{escape(self.up.label)}</text>'


def reliability(sample: Sample, region: int) -> str:
    """Share of right pixels over their confidence, before and after temperature; on the diagonal both are the same."""
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    chart = Chart(
        Axis("confidence", (0, 1), ticks),
        Axis("share that is right", (0, 1), ticks),
        f"Reliability diagram of {REGIONS[region]}: share right over confidence, before and after temperature.",
    )
    chart.line([(0, 0), (1, 1)], "rule", "what is said is what is so")
    styles: dict[When, str] = {"before": "second", "after": "first"}
    for when, style in styles.items():
        points = reliability_points(sample, when, region)
        chart.line(points, style)
        for confidence, right in points:
            chart.dot((confidence, right), style, f"{when}: said {confidence:.2f}, right {right:.2f}")
    return chart.svg()


def type_reliability(sample: Sample) -> str:
    """Share of malignant images over the malignant share that is said of them, with Wilson's intervals."""
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    chart = Chart(
        Axis("malignant share that is said", (0, 1), ticks),
        Axis("share of the images that is malignant", (0, 1), ticks),
        "Reliability diagram of found lesions, image by image: share that is malignant over the malignant share said.",
    )
    chart.line([(0, 0), (1, 1)], "rule", "what is said is what is so")
    for count, said, malignant in type_histograms(sample).sum(axis=0):
        if not count:
            continue
        place = float(said / count)
        chart.line([(place, end) for end in wilson(int(malignant), int(count))], "first")
        words = f"said {place:.2f}, malignant {malignant / count:.2f} of {int(count)} images"
        chart.dot((place, float(malignant / count)), "first", words)
    return chart.svg()


def reliability_points(sample: Sample, when: When, region: int) -> list[tuple[float, float]]:
    """Mean confidence and share of right pixels of each bin with at least a thousandth of the pixels."""
    total = histograms(sample, when, region).sum(axis=0)
    filled = total[total[:, 0] > total[:, 0].sum() / 1000]
    return [(float(confidence / count), float(right / count)) for count, confidence, right in filled]


def agreement(sample: Sample) -> str:
    """Bland and Altman's plot of the areas of found lesions."""
    found = sample.part(sample.flags("found"))
    predicted, reference = 100 * found.values("predicted_share"), 100 * found.values("reference_share")
    means, differences = (predicted + reference) / 2, predicted - reference
    bias = float(differences.mean()) if differences.size else 0.0
    reach = AGREEMENT_DEVIATIONS * float(differences.std(ddof=1)) if differences.size > 1 else 0.0
    widest = max(1.0, float(np.abs(differences).max(initial=0)))
    most = max(1.0, float(means.max(initial=0)))
    chart = Chart(
        Axis("mean of marked and reference area, % of the image", (0, most), _ticks(0, most)),
        Axis("marked minus reference, % of the image", (-widest, widest), _ticks(-widest, widest)),
        f"Bland-Altman plot of areas: bias {bias:.2f}, limits {bias - reach:.2f} and {bias + reach:.2f} %.",
    )
    for level, name in ((bias, "bias"), (bias - reach, "lower limit"), (bias + reach, "upper limit")):
        chart.line([(0, level), (most, level)], "rule" if name != "bias" else "second", name)
        chart.text((most, level), f"{name} {level:.1f}")
    for case, mean, difference in zip(found.cases, means, differences, strict=True):
        chart.dot((mean, difference), case.kind, f"{case.key}: {difference:+.1f}")
    return chart.svg()


def risk_coverage(sample: Sample) -> str:
    """Mean of 1 - Dice of the surest tumour images, over how many of them are kept."""
    tumour = sample.part(sample.kinds > 0)
    loss = 1 - tumour.values("dice")
    curves = [
        *((risk_points(tumour.values(name), loss), style, UNCERTAINTIES[name][0]) for name, style in _DOUBTS),
        (risk_points(loss, loss), "rule", "if the errors themselves were known"),
    ]
    highest = max([0.1, *(risk for points, _, _ in curves for _, risk in points)])
    chart = Chart(
        Axis("share of the tumour images kept, the surest first", (0, 1), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        Axis("mean of 1 - Dice of those kept", (0, highest), _ticks(0, highest)),
        "Risk-coverage curve: mean of 1 - Dice of the surest tumour images, over the share that is kept.",
    )
    for curve in curves:
        chart.line(*curve)
    return chart.svg()


def risk_points(doubt: Numbers, loss: Numbers) -> list[tuple[float, float]]:
    """(share kept, mean loss of those kept), from the surest alone to all."""
    count = np.arange(1, len(loss) + 1)
    risks = np.cumsum(loss[np.argsort(doubt, kind="stable")]) / count
    return [(float(kept), float(risk)) for kept, risk in zip(count / max(len(loss), 1), risks, strict=True)]


def size_against_dice(cases: Sequence[Case]) -> str:
    """Dice of each tumour image over the area of its lesion."""
    tumour = [case for case in cases if case.kind != "normal"]
    largest = max([10.0, *(100 * case.reference_share for case in tumour)])
    ticks = tuple(tick for tick in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0) if tick <= largest * 1.2)
    chart = Chart(
        Axis("area of the reference, % of the image", (0.1, largest * 1.1), ticks, logarithmic=True),
        Axis("lesion Dice", (0, 1), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        "Lesion Dice of each tumour image over the area of its lesion.",
    )
    for case in tumour:
        chart.dot((100 * case.reference_share, case.dice), case.kind, f"{case.key}: Dice {case.dice:.2f}")
    return chart.svg()


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """About five round numbers within a span."""
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.99)
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return tuple(round(number * float(step), 10) for number in range(first, last + 1))


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""

"""What a training run does, as data: one TOML file a recipe, in `configurations/`, checked when it is read."""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from efsnet.specification import Fraction, Side
from training.errors import ConfigurationInvalid

SHIPPED = Path(__file__).with_name("configurations")

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Range = tuple[float, float]


class Part(BaseModel):
    """Base of the parts of a configuration: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Phase(Part):
    """A stretch of training at one image size."""

    size: Side
    """Rows and columns of the images that the network sees."""
    batch: Annotated[int, Field(ge=1)]
    """Images of one step over all devices."""
    steps: Annotated[int, Field(ge=1)]


class Sampling(Part):
    """Share of each kind of image in a batch on average; None draws every image equally often."""

    normal: Fraction
    benign: Fraction
    malignant: Fraction

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if abs(self.normal + self.benign + self.malignant - 1) > 1e-6:
            raise ValueError("the shares of normal, benign and malignant images add up to 1")
        return self


class Augmentation(Part):
    """Random changes of a training image; lengths are shares of its side, angles degrees."""

    crop: Fraction = 0.0
    """Probability that a random quarter of the image is seen at full resolution, in place of the whole."""
    rotation: NotNegative = 0.0
    """Largest angle to either side."""
    zoom: Range = (1.0, 1.0)
    """Factors of size, drawn on a logarithmic scale."""
    aspect: Positive = 1.0
    """Largest factor of stretching of one side against the other."""
    shift: NotNegative = 0.0
    flip_columns: Fraction = 0.0
    """Probability of left for right."""
    flip_rows: Fraction = 0.0
    """Probability of top for bottom."""
    padding: Literal["reflection", "zeros"] = "reflection"
    """What is seen beyond the image's border."""
    brightness: NotNegative = 0.0
    """Grey values are multiplied by 1 - brightness to 1 + brightness."""
    contrast: NotNegative = 0.0
    """Their distances from the image's mean are multiplied by 1 - contrast to 1 + contrast."""
    gamma: Range = (1.0, 1.0)
    noise: NotNegative = 0.0
    """Largest standard deviation of added noise; grey values are 0 to 1."""
    speckle: NotNegative = 0.0
    """Largest standard deviation of noise that multiplies the image."""
    blur: NotNegative = 0.0
    """Largest standard deviation of a Gaussian, in pixels at 256 rows."""
    depth_gain: NotNegative = 0.0
    """Largest share by which grey values rise or fall from the top of the image to its bottom."""
    filter: Fraction = 0.0
    """Probability that grey values pass through a small random network, as if another machine had made the image."""
    frame: Fraction = 0.0
    """Probability that a border of the image is black: straight margins, or the outside of a sector."""
    blank: Fraction = 0.0
    """Probability that there is no picture: black or an even grey with a little noise, and nothing marked."""


class Loss(Part):
    """Weighted cross-entropy, and further terms by their weights; 0 leaves a term out."""

    class_weights: tuple[Positive, ...]
    """Of background, benign and malignant in the cross-entropy."""
    lesion_dice: NotNegative = 0.0
    """Dice loss of benign and malignant taken together, image by image."""
    class_dice: NotNegative = 0.0
    """Dice loss of benign and malignant apart, over the batch."""
    normal_images: NotNegative = 0.0
    """Mean tumour probability of the likeliest hundredth of the pixels of normal images."""
    boundary: NotNegative = 0.0
    """Cross-entropy of tumour or not along the outline, where the network is unsure; in the last third of the run."""
    deep_supervision: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    """Cross-entropy of heads at 1/8 and 1/4 of the size; the finished network does not have them."""
    lesion_class: NotNegative = 0.0
    """Cross-entropy of a head that names the lesion as a whole, after 40 % of the run; it is not kept either."""
    distillation: NotNegative = 0.0
    """Divergence from the probabilities of a teacher (Hinton et al., 2015), a run that `train` is given."""
    distillation_temperature: Positive = 2.5


class Optimiser(Part):
    """Optimiser and the course of its learning rate."""

    name: Literal["adam", "adamw"]
    learning_rate: Positive
    weight_decay: NotNegative = 0.0
    """Not of normalisation layers, PReLU slopes and biases."""
    schedule: Literal["cosine", "polynomial"]
    schedule_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps after which the rate would be at its end; all steps of the run by default."""
    power: Positive = 0.9
    """Of the polynomial schedule."""
    final_share: Fraction = 0.0
    """Rate at the end of the cosine schedule, as a share of the highest one."""
    warm_up: Fraction = 0.0
    """Share of the steps in which the rate rises from zero."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient."""


class Configuration(Part):
    """A recipe."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    network: Literal["efsnet", "fssnet", "enet", "unet"] = "efsnet"
    widened: bool = False
    """Whether 3x3 convolutions learn with parallel branches, which are folded into them at the end."""
    seed: Annotated[int, Field(ge=0)]
    source: Side
    """Rows and columns to which images are resized before augmentation."""
    input: Side | None = None
    """Rows and columns of the exported network's input; those of the source by default."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    sampling: Sampling | None = None
    mix: dict[str, Positive] | None = None
    """Weights by which data sets are drawn, by name, for each kind of image among the sets that have it; None draws
    from all sets image by image."""
    augmentation: Augmentation
    loss: Loss
    optimiser: Optimiser
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the exponential moving average of the weights; None trains without one."""
    choose: Literal["last", "lowest_validation_loss"]
    """Which weights the run ends with."""
    bfloat16: bool = False
    """Mixed precision in training."""
    steps_per_epoch: Annotated[int, Field(ge=1)] = 100
    """Steps between two checkpoints; the state is resumable at each."""

    epochs_per_validation: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _phases_are_whole_epochs(self) -> Self:
        for phase in self.phases:
            if phase.steps % self.steps_per_epoch:
                raise ValueError(f"the steps of a phase are a multiple of steps_per_epoch, {self.steps_per_epoch}")
        return self

    def check_sets(self, names: Collection[str]) -> None:
        """Makes sure that the recipe's mix is of the data sets that are given.

        Raises:
            ConfigurationInvalid: it names others, or leaves one out.
        """
        if self.mix is not None and self.mix.keys() != set(names):
            raise ConfigurationInvalid(
                f"The recipe {self.name} mixes {', '.join(sorted(self.mix))}, and given are "
                f"{', '.join(sorted(names))}: name the folders of all that it mixes, and no others."
            )

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return sum(phase.steps for phase in self.phases)

    @property
    def input_size(self) -> int:
        """Rows and columns of the exported network's input."""
        return self.input or self.source

    def phase_at(self, step: int) -> Phase:
        """The phase of a step, counted from 0."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]


def read_configuration(name: str, *, seed: int | None = None) -> Configuration:
    """A shipped configuration by name, or one of the user's by path.

    A file may say `based_on`, the name of a shipped one or a path beside itself, and then only what differs.

    Args:
        name: As above.
        seed: Instead of the one in the file.

    Raises:
        ConfigurationInvalid: there is none, or it says something that cannot be.
    """
    path = _shipped().get(name, Path(name))
    try:
        return Configuration.model_validate(_content(path, ()) | ({} if seed is None else {"seed": seed}))
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}" for each in error.errors())
        raise ConfigurationInvalid("\n  ".join([f"{path} cannot be:", *wrong])) from error


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in sorted(SHIPPED.rglob("*.toml"))}


def _content(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    """What a file and those that it is based on say together."""
    if path in before:
        raise ConfigurationInvalid(f"{path} is based on itself.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationInvalid(
            f"No configuration {str(path)!r}: name one of {', '.join(_shipped())}, or a TOML file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(f"{path}: {error}") from error
    base = content.pop("based_on", None)
    if base is None:
        return content
    if "name" not in content:  # else its reports would bear the other's name
        raise ConfigurationInvalid(f"{path} has no name of its own: add one, as in name = {path.stem!r}.")
    return _joined(_content(_shipped().get(str(base), path.parent / str(base)), (*before, path)), content)


def _joined(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables are joined key by key; anything else is replaced."""
    return base | {
        key: _joined(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in changes.items()
    }

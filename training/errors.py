"""Everything the package raises.

* TrainingError
  - DatasetInvalid: a data set on disk, with every problem found
  - ConfigurationInvalid: a training configuration
  - SplitDiffers: a run's split names images that the data set does not have
  - TooFewScenes: a data set too small to be split
  - RunUnusable: a run folder that cannot be started, resumed or published
  - EvaluationUnusable: a folder that holds no evaluation, or evaluations that cannot be set side by side
  - NothingToTest: every image has been learnt from
  - ParityLost: an exported graph that does not give the network's probabilities
"""

from collections.abc import Sequence
from pathlib import Path


class TrainingError(Exception):
    """Base of all errors of this package."""


class DatasetInvalid(TrainingError):
    """The data set on disk cannot be used; `problems` lists every reason."""

    def __init__(self, folder: Path, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{folder} has {count}:\n" + "\n".join(f"  {problem}" for problem in problems))


class ConfigurationInvalid(TrainingError):
    """A training configuration that cannot be."""


class SplitDiffers(TrainingError):
    """A run's split names images that the data set does not have."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(
            f"The run was split over another data set: {len(missing)} of its images are not here, first {missing[0]}."
        )


class TooFewScenes(TrainingError):
    """A data set too small to be split."""

    def __init__(self, scenes: int) -> None:
        super().__init__(
            f"{scenes} scenes are too few to train on some, choose thresholds on others and test on the rest: "
            "this takes at least ten, and some hundred to be of use."
        )


class RunUnusable(TrainingError):
    """A run folder that cannot be started, resumed or published."""


class EvaluationUnusable(TrainingError):
    """A folder that holds no evaluation, or evaluations that cannot be set side by side."""


class NothingToTest(TrainingError):
    """Every image has been learnt from."""


class ParityLost(TrainingError):
    """An exported graph that does not give the network's probabilities."""

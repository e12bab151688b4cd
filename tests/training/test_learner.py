"""The learning rate follows its schedule, and scales are not decayed."""

import pytest
from torch import nn

from efsnet.network import EFSNet
from training.configuration import Configuration, Optimiser
from training.learner import Learner, learning_rate_share

COSINE = Optimiser(name="adamw", learning_rate=1e-3, schedule="cosine", final_share=0.1, warm_up=0.1)
POLYNOMIAL = Optimiser(name="adam", learning_rate=1e-3, schedule="polynomial", schedule_steps=200, power=0.9)


@pytest.mark.parametrize(
    ("rules", "step", "share"),
    [
        (COSINE, 0, 0.1),
        (COSINE, 9, 1.0),
        (COSINE, 10, 1.0),
        (COSINE, 55, 0.55),
        (COSINE, 100, 0.1),
        (COSINE, 1000, 0.1),
        (POLYNOMIAL, 0, 1.0),
        (POLYNOMIAL, 100, 0.5**0.9),
        (POLYNOMIAL, 200, 0.0),
    ],
)
def test_the_learning_rate_follows_its_schedule(rules: Optimiser, step: int, share: float) -> None:
    """Warm-up to the top, then half a cosine to its end; or a power of what is left."""
    assert learning_rate_share(rules, step, 100) == pytest.approx(share)


def test_only_weights_of_convolutions_decay(tiny_configuration: Configuration) -> None:
    """Normalisation, PReLU slopes and biases are scales: shrinking them regularises nothing."""
    network = EFSNet()
    settings = Learner(network, tiny_configuration, compiled=False).configure_optimizers()
    decayed, not_decayed = settings["optimizer"].param_groups
    scales = [
        parameter
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d | nn.PReLU)
        for parameter in module.parameters()
    ]

    assert 1e-3 == decayed["weight_decay"]
    assert 0 == not_decayed["weight_decay"]
    assert {id(parameter) for parameter in scales} < {id(parameter) for parameter in not_decayed["params"]}
    assert 178_887 == sum(p.numel() for group in (decayed, not_decayed) for p in group["params"])

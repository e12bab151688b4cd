"""The learning rate follows its schedule, and scales are not decayed."""

import pytest
import torch
from torch import nn

from efsnet.network import EFSNet
from training.configuration import Configuration, Loss, Optimiser
from training.heads import Heads
from training.learner import Learner, answering, learning_rate_share

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


def test_without_heads_the_answer_is_the_networks(tiny_configuration: Configuration) -> None:
    """And nothing but the network is trained."""
    network, heads = EFSNet().eval(), Heads(tiny_configuration.loss)
    image = torch.rand(2, 1, 64, 64)
    answers = answering(network, heads)(image)

    assert torch.equal(network(image), answers.logits)
    assert not answers.side
    assert answers.kinds is None
    assert not list(heads.parameters())


def test_heads_answer_on_their_own_grids() -> None:
    """At 1/8 and 1/4 of the image, and once for the whole; a head without weight is not there."""
    image = torch.rand(2, 1, 64, 96)
    both = Heads(Loss(class_weights=(1, 1, 1), deep_supervision=(0.4, 0.2), lesion_class=0.1))
    one = Heads(Loss(class_weights=(1, 1, 1), deep_supervision=(0.0, 0.2)))
    answers = answering(EFSNet(), both)(image)

    assert [(2, 3, 8, 12), (2, 3, 16, 24)] == [tuple(side.shape) for side in answers.side]
    assert answers.kinds is not None
    assert (2, 3) == answers.kinds.shape
    assert [(2, 3, 16, 24)] == [tuple(side.shape) for side in answering(EFSNet(), one)(image).side]


def test_the_class_of_a_lesion_teaches_the_features_and_not_the_outline() -> None:
    """Its head sees where the network marks a lesion, and must not move that mark for its own ends."""
    network = EFSNet()
    answers = answering(network, Heads(Loss(class_weights=(1, 1, 1), lesion_class=0.1)))(torch.rand(2, 1, 64, 64))
    assert answers.kinds is not None
    weights = [network.csdc[0].get_parameter("activation.weight"), network.predict.get_parameter("weight")]
    context, outline = torch.autograd.grad(answers.kinds.sum(), weights, allow_unused=True)

    assert context.abs() > 0
    assert outline is None

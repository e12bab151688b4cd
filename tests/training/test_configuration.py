"""A recipe is checked when it is read; what cannot be is refused in words."""

from pathlib import Path

import pytest

from training.configuration import SHIPPED, Configuration, read_configuration
from training.errors import ConfigurationInvalid


@pytest.mark.parametrize("path", sorted(SHIPPED.rglob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_for_their_files(path: Path) -> None:
    """`--config NAME` finds the file NAME.toml, and the run says NAME."""
    assert path.stem == read_configuration(path.stem).name


def test_the_thesis_recipe_has_the_thesis_figures() -> None:
    """Adam 5e-4, weights 1, 5, 5, batch 64, polynomial over 5,000 epochs of which 2,500 are run."""
    thesis = read_configuration("thesis")

    assert thesis.optimiser.name == "adam"
    assert 5e-4 == thesis.optimiser.learning_rate
    assert 0 == thesis.optimiser.weight_decay
    assert [1, 5, 5] == list(thesis.loss.class_weights)
    assert 64 == thesis.phases[0].batch
    assert 2 * thesis.steps == thesis.optimiser.schedule_steps
    assert 256 == thesis.input_size


def test_the_default_recipe_ends_at_the_size_at_which_the_service_works() -> None:
    """At least 40 % of the pixels that it learns from are in images of 512 x 512."""
    default = read_configuration("default")
    pixels = [phase.size**2 * phase.batch * phase.steps for phase in default.phases]

    assert 512 == default.phases[-1].size == default.input_size
    assert pixels[-1] / sum(pixels) >= 0.4


def test_a_recipe_reads_back_as_it_was_written(tiny_configuration: Configuration) -> None:
    """A run's configuration.json is its recipe."""
    assert tiny_configuration == Configuration.model_validate_json(tiny_configuration.model_dump_json())


def test_the_phase_of_a_step_is_found(tiny_configuration: Configuration) -> None:
    """Steps 0 to 3 are of the first phase, 4 and 5 of the second, and what follows too."""
    assert [32, 32, 32, 32, 64, 64, 64] == [tiny_configuration.phase_at(step).size for step in range(7)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dropuot = 0.1", "dropuot"),
        ("dropout = 2", "dropout"),
        ("steps_per_epoch = 7", "multiple of steps_per_epoch"),
        ("seed = [", "valid TOML|Invalid|Unclosed|invalid"),
    ],
)
def test_a_wrong_recipe_is_refused_in_words(tmp_path: Path, change: str, words: str) -> None:
    """A misspelt key, a value out of range and broken TOML each say what is wrong."""
    path = tmp_path / "mine.toml"
    shipped = (SHIPPED / "thesis.toml").read_text(encoding="utf-8")
    key = change.split(maxsplit=1)[0]
    kept = [line for line in shipped.splitlines() if not line.startswith(f"{key} =")]
    path.write_text("\n".join([change, *kept]), encoding="utf-8")

    with pytest.raises(ConfigurationInvalid, match=words):
        read_configuration(str(path))


def test_an_unknown_recipe_is_refused_with_those_that_there_are() -> None:
    """The message says what could have been meant."""
    with pytest.raises(ConfigurationInvalid, match=r"default.*thesis"):
        read_configuration("defalt")


def test_shares_of_a_batch_add_up() -> None:
    """A batch is made of all its shares."""
    with pytest.raises(ValueError, match="add up to 1"):
        Configuration.model_validate(
            {
                **read_configuration("default").model_dump(),
                "sampling": {"normal": 0.5, "benign": 0.5, "malignant": 0.5},
            }
        )


def test_a_recipe_based_on_another_says_what_differs(tmp_path: Path) -> None:
    """Tables are joined key by key, all else is replaced; chains of such recipes are followed."""
    (tmp_path / "first.toml").write_text(
        'name = "first"\nbased_on = "default"\nseed = 1\n'
        "[loss]\nboundary = 0.2\n[[phases]]\nsize = 64\nbatch = 4\nsteps = 100\n"
    )
    (tmp_path / "second.toml").write_text('name = "second"\nbased_on = "first.toml"\ndropout = 0.0\n')
    default, second = read_configuration("default"), read_configuration(str(tmp_path / "second.toml"))

    assert ("second", 1, 0.0) == (second.name, second.seed, second.dropout)
    assert default.loss.model_copy(update={"boundary": 0.2}) == second.loss
    assert [64] == [phase.size for phase in second.phases]
    assert default.optimiser == second.optimiser


def test_a_recipe_based_on_another_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Or its report would be read as the other's."""
    (tmp_path / "ours.toml").write_text('based_on = "default"\nseed = 1\n')

    with pytest.raises(ConfigurationInvalid, match="no name of its own"):
        read_configuration(str(tmp_path / "ours.toml"))


def test_a_recipe_based_on_itself_is_refused(tmp_path: Path) -> None:
    """Also by way of another one."""
    (tmp_path / "one.toml").write_text('name = "one"\nbased_on = "two.toml"')
    (tmp_path / "two.toml").write_text('name = "two"\nbased_on = "one.toml"')

    with pytest.raises(ConfigurationInvalid, match="based on itself"):
        read_configuration(str(tmp_path / "one.toml"))

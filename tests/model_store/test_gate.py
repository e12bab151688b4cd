"""The gate: what was not measured, or is worse on the same images, is promoted for a recorded reason only."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.digest import Digest
from model_store.errors import MetricsMissing, PromotionInvalid, PromotionRefused, WorseThanProduction
from model_store.gate import MARGINS, NEEDED, check
from model_store.manifest import Draft, Evaluated, Metric
from model_store.store import ModelStore
from model_store.version import Version

IMAGES, OTHER_IMAGES = Digest.of(b"images"), Digest.of(b"other images")
GOOD = {"lesion_dice": 0.8, "type_right_when_found": 0.8, "missed_lesions": 0.1, "false_alarms": 0.1}

Measured = Callable[..., Version]


@pytest.fixture
def measured(published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> Measured:
    """Publishes a version with these figures, measured on these images; `GOOD` ones if not said otherwise."""

    def published(digest: Digest | None = IMAGES, /, **figures: float) -> Version:
        metrics = {name: Metric(value=value) for name, value in {**GOOD, **figures}.items()}
        evaluated = () if digest is None else (Evaluated(name="BUSI", images=114, digest=digest, metrics=metrics),)
        draft = tiny_draft.model_copy(update={"metrics": metrics, "evaluated": evaluated})
        return published_store.publish("efsnet", draft, tiny_contents)

    return published


@pytest.mark.parametrize("figure", MARGINS)
def test_a_figure_may_be_worse_by_its_margin_and_no_more(measured: Measured, figure: str) -> None:
    """On the same images. The message says which, by how much, and on what."""
    production = measured()
    just, beyond = (GOOD[figure] + share * MARGINS[figure] for share in (1.0, 1.1))

    check(measured(**{figure: just}), production)
    with pytest.raises(WorseThanProduction, match=rf"{figure} on BUSI 0\.\d+ and not 0\.\d+ \(margin"):
        check(measured(**{figure: beyond}), production)


@pytest.mark.parametrize("figure", MARGINS)
def test_a_figure_that_production_has_is_not_left_out(measured: Measured, figure: str) -> None:
    """Of the same images; that production lacks one is no fault of the candidate's."""
    whole, partial = measured(), measured()
    (evaluated,) = partial.manifest.evaluated
    metrics = {name: metric for name, metric in evaluated.metrics.items() if name != figure}
    manifest = partial.manifest.model_copy(update={"evaluated": (evaluated.model_copy(update={"metrics": metrics}),)})
    partial = replace(partial, manifest=manifest)

    with pytest.raises(MetricsMissing, match=f"says nothing of {figure} on BUSI"):
        check(partial, whole)
    assert f"{partial}, in production, has no {figure} on BUSI." == check(whole, partial)


@pytest.mark.parametrize("figure", MARGINS)
def test_better_is_never_refused(measured: Measured, figure: str) -> None:
    """However much better."""
    check(measured(**{figure: GOOD[figure] - 5 * MARGINS[figure]}), measured())


def test_all_that_is_worse_is_told_at_once(measured: Measured) -> None:
    """And what to do about it."""
    with pytest.raises(WorseThanProduction) as raised:
        check(measured(lesion_dice=0.7, false_alarms=0.5), measured())

    assert (
        "efsnet 2 is worse than efsnet 3, which is in production, on the same images: lesion_dice on BUSI 0.700 and "
        "not 0.800 (margin 0.01), false_alarms on BUSI 0.500 and not 0.100 (margin 0.06). Give a reason to promote it "
        "all the same."
    ) == str(raised.value)


@pytest.mark.parametrize(("candidate", "production"), [(OTHER_IMAGES, IMAGES), (None, IMAGES), (IMAGES, None)])
def test_figures_of_other_images_are_not_compared(
    measured: Measured, candidate: Digest | None, production: Digest | None
) -> None:
    """A smaller figure on harder images says nothing; that nothing was compared, is said."""
    said = check(measured(candidate, lesion_dice=0.1), measured(production))

    assert "efsnet 2 and efsnet 3, in production, were measured on no same images." == said


def test_a_version_passes_beside_itself_and_where_nothing_serves(measured: Measured) -> None:
    """There is nothing that it could be worse than."""
    version = measured()

    assert (None, None) == (check(version, version), check(version, None))


@pytest.mark.requirement("VER-9")
def test_what_was_not_measured_is_refused(
    published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """Whatever serves, and whatever other figures there are."""
    draft = tiny_draft.model_copy(update={"metrics": {"false_alarms": Metric(value=0.0)}})
    published_store.publish("efsnet", draft, tiny_contents)

    for alias in ("production", "candidate"):
        with pytest.raises(MetricsMissing, match=f"efsnet 2 says nothing of its {NEEDED}: evaluate it"):
            published_store.promote("efsnet", alias, 2, by="x", why="y")
    assert 1 == len(published_store.promotions("efsnet"))


@pytest.mark.requirement("VER-9")
def test_a_worse_version_is_refused_to_every_alias(published_store: ModelStore, measured: Measured) -> None:
    """Requests can name each."""
    promote(published_store, measured().number)
    worse = measured(lesion_dice=0.5)

    for alias in ("production", "candidate"):
        with pytest.raises(WorseThanProduction, match="efsnet 3 is worse than efsnet 2"):
            promote(published_store, worse.number, alias)
    assert {"production": 2} == published_store.aliases("efsnet")


def test_who_overrules_the_gate_is_on_the_record(published_store: ModelStore, measured: Measured) -> None:
    """With the reason, and with what the gate said; other records have no such line."""
    promote(published_store, measured().number)
    measured(lesion_dice=0.5)

    record = published_store.promote(
        "efsnet", "production", 3, by="dr.who", why="a try", force_because=" its masks are smoother "
    )

    assert record == published_store.promotions("efsnet")[-1]
    assert record.forced
    assert "its masks are smoother" == record.forced.because
    assert "lesion_dice on BUSI 0.500 and not 0.800" in record.forced.against
    folder = published_store.root / "efsnet" / "promotions"
    assert ["forced" in path.read_text() for path in sorted(folder.iterdir())] == [False, False, True]


def test_a_reason_that_nobody_asked_for_is_not_kept(published_store: ModelStore, measured: Measured) -> None:
    """The record says only what was overruled."""
    measured()

    assert None is published_store.promote("efsnet", "production", 2, by="x", why="y", force_because="habit").forced


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "\x1b[2J"])
def test_the_gate_is_overruled_in_words(published_store: ModelStore, measured: Measured, reason: str) -> None:
    """An empty reason is none, and a terminal obeys none."""
    promote(published_store, measured().number)
    measured(lesion_dice=0.5)

    with pytest.raises(PromotionInvalid, match=r"forced\.because"):
        published_store.promote("efsnet", "production", 3, by="x", why="y", force_because=reason)


def test_going_back_is_never_refused(published_store: ModelStore, measured: Measured) -> None:
    """Whatever the figures said, what served before is what is wanted back."""
    promote(published_store, measured(lesion_dice=0.5).number)
    promote(published_store, measured().number)

    assert 2 == published_store.rollback("efsnet", "production", by="x", why="y").version


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "changed"])
def test_a_damaged_production_can_be_replaced(
    published_store: ModelStore, measured: Measured, damage: Callable[[Path], None]
) -> None:
    """It must be, and there is nothing left to compare with."""
    promote(published_store, measured().number)
    file = measured(lesion_dice=0.5).path.with_name("2") / "manifest.json"
    file.chmod(0o644)
    damage(file)

    promote(published_store, 3)

    assert {"production": 3} == published_store.aliases("efsnet")
    assert "efsnet 2, in production, is gone or damaged." == published_store.promotions("efsnet")[-1].not_compared


def test_that_nothing_was_compared_is_on_the_record(published_store: ModelStore, measured: Measured) -> None:
    """Years later a reader knows what the gate said; where it compared, the record has no such line."""
    promote(published_store, measured().number)
    promote(published_store, measured().number)

    folder = published_store.root / "efsnet" / "promotions"
    assert "efsnet 2 and efsnet 1, in production, were measured on no same images." == (
        published_store.promotions("efsnet")[1].not_compared
    )
    assert [False, True, False] == ["not_compared" in path.read_text() for path in sorted(folder.iterdir())]


def test_the_two_refusals_are_one_kind() -> None:
    """A caller need not tell them apart."""
    assert issubclass(MetricsMissing, PromotionRefused)
    assert issubclass(WorseThanProduction, PromotionRefused)


def promote(store: ModelStore, number: int, alias: str = "production") -> None:
    """Without force."""
    store.promote("efsnet", alias, number, by="the tests", why="to see")

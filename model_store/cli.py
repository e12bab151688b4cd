"""Look at published versions, check them, and decide which one serves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from typer.core import TyperGroup

from efsnet.errors import EFSNetError
from model_store.audit import examine
from model_store.copies import commands as copies
from model_store.digest import Digest
from model_store.errors import IntegrityError, ModelStoreError, SignatureInvalid
from model_store.loading import load
from model_store.manifest import Metric
from model_store.options import DEFAULT_STORE, Model, Reference, Store
from model_store.promotions import Promotion
from model_store.signatures import RELEASE_KEYS, Trust
from model_store.signing import generate
from model_store.signing import sign as sign_version
from model_store.store import ModelStore


class OneLineErrors(TyperGroup):
    """Says in one line what went wrong: what people can cause needs no traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ModelStoreError, EFSNetError) as error:
            _complain("Error", error)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=OneLineErrors, help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Alias = Annotated[str, typer.Option(help="The name that is to mean another version.")]
By = Annotated[str, typer.Option(envvar="USER", help="Who decided it; by default the user's name.")]
Why = Annotated[str, typer.Option(help="The reason, kept on the record.")]
Expect = Annotated[int | None, typer.Option(help="Refuse unless the alias names this version now.")]
Keys = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Each must be signed by one of these public keys (*.pub).")
]


@app.command("list")
def list_versions(
    store: Store = DEFAULT_STORE, model: Annotated[str | None, typer.Option(help="Only this model.")] = None
) -> None:
    """List all versions with their aliases."""
    models = ModelStore(store)
    # Where it is narrow, names break into lines and nothing is cut.
    digest, named = Column("Digest", no_wrap=True), Column("Aliases", overflow="fold")
    table = Table("Model", "Version", digest, "Created", named, "Lesion Dice")
    for name in models.names() if model is None else (model,):
        aliases = models.aliases(name)
        for number in models.numbers(name):
            own = ", ".join(alias for alias, target in aliases.items() if target == number)
            table.add_row(name, str(number), *_described(models, name, number, own))
    Console().print(table)


@app.command()
def show(reference: Reference = "production", store: Store = DEFAULT_STORE, model: Model = "efsnet") -> None:
    """Show a version's metrics, who promoted it, and its manifest."""
    models = ModelStore(store)
    version = models.version(model, reference)
    promotions = [promotion for promotion in models.promotions(model) if promotion.version == version.number]
    console = Console()
    console.print(f"{version}, {version.digest}", highlight=False, soft_wrap=True)
    console.print(_metrics(version.manifest.metrics), _history(promotions))
    console.print_json(str(version.manifest))


@app.command()
def verify(
    reference: Reference = "production",
    *,
    every: Annotated[bool, typer.Option("--all", help="Every version of the model.")] = False,
    keys: Keys = None,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
) -> None:
    """Check the promotion records, each file of a version, its signature, and its reference images on this machine."""
    models = ModelStore(store)
    trust = _trust(keys)
    count = len(models.promotions(model))
    typer.echo(f"{model}: promotion records intact: {count}")
    references = map(str, models.numbers(model)) if every else (reference,)
    damage = [error for each in references for error in _damage(models, model, each, trust)]
    for error in damage:
        _complain("Damaged", error)
    if damage:
        raise typer.Exit(1)


@app.command()
def promote(  # noqa: PLR0913 (a parameter is an option of the command)
    version: Annotated[int, typer.Argument(help="Number of the version.")],
    *,
    why: Why,
    by: By,
    alias: Alias = "production",
    expect: Expect = None,
    force_because: Annotated[
        str | None, typer.Option(help="Promote what the gate refuses, for this reason, kept on the record.")
    ] = None,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
) -> None:
    """Make an alias name a version, if it was measured and is not worse than production on the same images."""
    promotion = ModelStore(store).promote(
        model,
        alias,
        version,
        by=by,
        why=why,
        expected_current=... if expect is None else expect,
        force_because=force_because,
    )
    if promotion.forced:
        typer.echo(f"The gate was overruled: {promotion.forced.against}")
    elif force_because is not None:
        typer.echo("Nothing was forced: the gate lets this version pass, and the reason to overrule it is not kept.")
    if promotion.not_compared:
        typer.echo(f"The gate could not compare all: {promotion.not_compared}")
    _report(promotion)


@app.command()
def rollback(  # noqa: PLR0913 (a parameter is an option of the command)
    *,
    why: Why,
    by: By,
    alias: Alias = "production",
    expect: Expect = None,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
) -> None:
    """Undo the last promotion of an alias; once more, the one before it."""
    expected = ... if expect is None else expect
    _report(ModelStore(store).rollback(model, alias, by=by, why=why, expected_current=expected))


@app.command()
def withdraw(  # noqa: PLR0913 (a parameter is an option of the command)
    *,
    why: Why,
    by: By,
    alias: Alias = "candidate",
    expect: Expect = None,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
) -> None:
    """End an alias, such as that of a candidate. The version stays published, and production cannot be ended."""
    expected = ... if expect is None else expect
    _report(ModelStore(store).withdraw(model, alias, by=by, why=why, expected_current=expected))


@app.command("log")
def show_log(
    *,
    check: Annotated[bool, typer.Option("--verify", help="Check the chain, and all that it names.")] = False,
    keys: Keys = None,
    noted: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Check, and that a record has this digest, noted earlier.")
    ] = None,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
) -> None:
    """Show who made which alias name which version, when and why, oldest first."""
    models = ModelStore(store)
    Console().print(_history(models.promotions(model)))
    if not check and noted is None and keys is None:
        return
    found = examine(models, model, noted=None if noted is None else Digest.parse(noted), trust=_trust(keys))
    typer.echo(f"{model}: promotion records intact: {len(found.records)}; the newest is {found.newest}")
    for remark in found.remarks:
        typer.echo(f"Remark: {remark}")
    for error in found.damage:
        _complain("Damaged", error)
    if found.damage:
        raise typer.Exit(1)


@app.command()
def keygen(
    key: Annotated[Path, typer.Argument(metavar="NAME.pem", help="The private key; NAME.pub is made beside it.")],
    *,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase to lock it with.")] = False,
) -> None:
    """Make a pair of keys to sign versions with."""
    asked = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True) if passphrase else ""
    public = generate(key, passphrase=asked)
    typer.echo(f"{key} is the private key: keep it where no service runs.")
    typer.echo(f"{key.with_suffix('.pub')} is the public key, {public.fingerprint}: give it to who is to trust it.")


@app.command()
def sign(
    key: Annotated[Path, typer.Option(metavar="NAME.pem", help="The private key.")],
    reference: Reference = "production",
    *,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for the passphrase of the key.")] = False,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
) -> None:
    """Sign a version, after every file of it was checked."""
    asked = typer.prompt("Passphrase", hide_input=True) if passphrase else ""
    version = ModelStore(store).version(model, reference)
    typer.echo(f"{version} is signed by {sign_version(version, key, passphrase=asked)}.")


app.command("push")(copies.push)
app.command("pull")(copies.pull)
app.command("announce")(copies.announce)
app.command("follow")(copies.follow)
app.command("export")(copies.export)
app.command("import")(copies.take)


def _described(models: ModelStore, name: str, number: int, aliases: str) -> tuple[str, ...]:
    try:
        version = models.version(name, str(number))
    except IntegrityError:
        return "damaged: see verify", "", aliases, ""
    dice = version.manifest.metrics.get("lesion_dice")
    created = f"{version.manifest.created_at:%Y-%m-%d}"
    return version.digest.short, created, aliases, f"{dice.value:.3f}" if dice else ""


def _metrics(metrics: Mapping[str, Metric]) -> Table:
    table = Table("Metric", "Value", "95 % interval")
    for name, metric in metrics.items():
        interval = "{:.3f} to {:.3f}".format(*metric.interval) if metric.interval else ""
        table.add_row(name, f"{metric.value:.3f}", interval)
    return table


def _history(promotions: Sequence[Promotion]) -> Table:
    """To be read in 80 columns: what belongs together stands in lines below each other."""
    what, why = Column("What", overflow="fold", min_width=20), Column("Who and why", overflow="fold")
    table = Table("Record", Column("When", no_wrap=True), what, why, show_lines=True)
    for promotion in promotions:
        reasons = [promotion.by, promotion.why]
        if promotion.forced:
            reasons.append(f"Forced: {promotion.forced.because}. {promotion.forced.against}")
        if promotion.not_compared:
            reasons.append(f"Not compared: {promotion.not_compared}")
        table.add_row(
            str(promotion.number),
            f"{promotion.at:%Y-%m-%d\n%H:%M}Z",
            f"{promotion.alias}\n{promotion.action} {promotion.version}\n{promotion.digest.short}",
            escape("\n".join(reasons)),
        )
    return table


def _trust(keys: Path | None) -> Trust:
    """Without keys those of the shipped versions are trusted, and versions that others signed are told of."""
    return Trust.read("warn", RELEASE_KEYS) if keys is None else Trust.read("require", keys)


def _damage(models: ModelStore, name: str, reference: str, trust: Trust) -> tuple[ModelStoreError, ...]:
    try:
        version = models.version(name, reference)
        if damage := version.damage():
            return damage
        loaded = load(version, trust=trust)
    except IntegrityError as error:
        return (error,)
    for image in loaded.replay:
        counts = f"{image.differing_pixels} of {image.pixels} pixels differ"
        typer.echo(f"{version}: {image.name}: {counts} on {loaded.predictor.engine.provider}")
    if isinstance(loaded.doubt, SignatureInvalid):  # whoever is trusted, it is worthless
        return (loaded.doubt,)
    typer.echo(f"{version}: signed by {loaded.signature}" if loaded.signature else str(loaded.doubt))
    typer.echo(f"{version}: intact, {version.digest}")
    return ()


def _report(promotion: Promotion) -> None:
    names = "nothing" if promotion.action == "withdraw" else f"version {promotion.version}"
    typer.echo(f"{promotion.alias} names {names} now (promotion record {promotion.number}).")
    typer.echo(
        "A service that runs notices it, checks the version and changes over; its /readyz tells which one answers."
    )


def _complain(what: str, error: Exception) -> None:
    typer.secho(f"{what}: {error}", fg=typer.colors.RED, err=True)

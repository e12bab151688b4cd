"""`push`, `pull`, `announce`, `follow`, `export` and `import`, of which `model_store.cli` makes commands."""

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from model_store.copies import archive
from model_store.copies.arrival import Order, arrive
from model_store.copies.repository import Access, Repository
from model_store.digest import Digest
from model_store.errors import ModelStoreError, SignatureInvalid, SignatureUntrusted
from model_store.options import DEFAULT_STORE, Model, Reference, Store
from model_store.promotions import Promotion
from model_store.signatures import RELEASE_KEYS, TrustedKeys, verify
from model_store.store import ModelStore
from model_store.version import Version

RepositoryName = Annotated[str, typer.Argument(metavar="REPOSITORY", help="HOST[:PORT]/PATH of an OCI registry.")]
Number = Annotated[int, typer.Argument(min=1, max=999_999_999, help="Number of the version.")]
Expected = Annotated[
    str | None, typer.Option("--digest", help="Refuse unless the version has this digest: sha256: and all of it.")
]
Trusted = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Refuse unless a key of this folder (*.pub) has signed the version.")
]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca", exists=True, dir_okay=False, metavar="FILE", help="PEM of who signs the registry's certificate."
    ),
]
PlainHttp = Annotated[bool, typer.Option("--plain-http", help="Without TLS: anybody on the way can read and change.")]


def push(
    reference: Reference,
    repository: RepositoryName,
    *,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
    ca: Authority = None,
    plain_http: PlainHttp = False,
) -> None:
    """Copy a version to an OCI registry, under its number. Who may: ORAS_USER and ORAS_PASS, or docker's log-in."""
    from model_store.copies.registry import connected

    version = ModelStore(store).version(model, reference)
    with connected(Repository.parse(repository), Access.of_environment(ca, plain_http=plain_http)) as registry:
        new = registry.push(version)
    done = "is now" if new else "was already"
    typer.echo(f"{version} {done} at {repository}:{version.number}, {version.digest}.")


def pull(
    number: Number,
    repository: RepositoryName,
    *,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
    digest: Expected = None,
    trusted: Trusted = None,
    ca: Authority = None,
    plain_http: PlainHttp = False,
) -> None:
    """Copy a version from an OCI registry into the store, checked byte by byte. Promoting it is a step of its own."""
    from model_store.copies.registry import connected

    order = _order(model, digest, trusted)
    with connected(Repository.parse(repository), Access.of_environment(ca, plain_http=plain_http)) as registry:
        contents = registry.pull(number)
    _take(store, contents, order)


def announce(
    repository: RepositoryName,
    *,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
    ca: Authority = None,
    plain_http: PlainHttp = False,
) -> None:
    """Copy all promotion records to an OCI registry, for other stores to follow. The versions must be there."""
    from model_store.copies import history
    from model_store.copies.registry import connected

    with connected(Repository.parse(repository), Access.of_environment(ca, plain_http=plain_http)) as registry:
        new = history.announce(ModelStore(store), model, registry)
    typer.echo(f"{repository}:{history.TAG} has all promotion records of {model} now, of which it lacked {new}.")


def follow(
    repository: RepositoryName,
    *,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    trusted: Trusted = None,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
    ca: Authority = None,
    plain_http: PlainHttp = False,
) -> None:
    """Follow what is announced in an OCI registry, for ever: versions into the store first, then their promotions."""
    from model_store.copies import history
    from model_store.copies.registry import connected

    place, access = Repository.parse(repository), Access.of_environment(ca, plain_http=plain_http)
    models, order = ModelStore(store), _order(model, None, trusted)
    if not once:
        signal.signal(signal.SIGTERM, _ended)
    trouble = ""
    while True:
        try:
            with connected(place, access) as registry:
                while True:
                    _tell_promotions(history.follow(models, registry, order))
                    if trouble:
                        typer.echo(f"{place} is followed again.")
                        trouble = ""
                    if once:
                        return
                    time.sleep(every)
        except ModelStoreError as error:
            if once:
                raise
            if str(error) != trouble:  # said once, tried until it succeeds
                typer.secho(f"Not followed: {error}", fg=typer.colors.RED, err=True)
            trouble = str(error)
        time.sleep(every)


def export(
    reference: Reference,
    file: Annotated[Path, typer.Argument(help="Archive to write, such as efsnet-2.tar.")],
    *,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
) -> None:
    """Write a version as one tar, for a site without a network."""
    version = ModelStore(store).version(model, reference)
    archive.write(version, file)
    typer.echo(f"{version} is in {file}, {version.digest}.")


def take(
    file: Annotated[Path, typer.Argument(help="Archive that `export` wrote.")],
    *,
    store: Store = DEFAULT_STORE,
    model: Model = "efsnet",
    digest: Expected = None,
    trusted: Trusted = None,
) -> None:
    """Take a version from a tar into the store, checked byte by byte. Promoting it is a step of its own."""
    order = _order(model, digest, trusted)
    _take(store, archive.read(file), order)


def _order(name: str, digest: str | None, trusted: Path | None) -> Order:
    return Order(
        name,
        Digest.parse(digest) if digest else None,
        TrustedKeys.read(trusted) if trusted else None,
    )


def _take(store: Path, contents: Mapping[str, bytes], order: Order) -> None:
    arrival = arrive(ModelStore(store), contents, order)
    done = "is in the store now" if arrival.new else "was in the store already"
    typer.echo(f"{arrival.version} {done}, intact, {arrival.version.digest}.")
    if order.signers is None:
        _tell_signature(arrival.version)
    if arrival.new:
        typer.echo(f"To serve it: python -m model_store promote {arrival.version.number} --why REASON")


def _tell_promotions(promotions: Sequence[Promotion]) -> None:
    for promotion in promotions:
        names = "nothing" if promotion.action == "withdraw" else f"version {promotion.version}"
        typer.echo(f"{promotion.alias} names {names} now (promotion record {promotion.number}).")


def _ended(*_: object) -> NoReturn:
    """Whatever it waits for; as the first process of a container it would not be ended by itself."""
    sys.exit(0)


def _tell_signature(version: Version) -> None:
    """Nobody's was asked for: what it is worth is told all the same."""
    try:
        typer.echo(f"{version} is signed by {verify(version, TrustedKeys.read(RELEASE_KEYS))}.")
    except SignatureInvalid as error:
        typer.secho(f"Warning: {error} Do not promote it.", fg=typer.colors.RED, err=True)
    except SignatureUntrusted as error:
        typer.echo(str(error))

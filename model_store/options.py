"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STORE = Path("~/.local/share/efsnet/store")

Store = Annotated[
    Path,
    typer.Option(
        envvar="EFSNET_STORE", metavar="DIR", parser=lambda text: Path(text).expanduser(), help="Where versions are."
    ),
]
Model = Annotated[str, typer.Option(help="Name of the model.")]
Reference = Annotated[str, typer.Argument(help="A number, an alias, or sha256: and the digest in full.")]

"""The whole API against its own description, by schemathesis: every operation, with good requests and bad ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.keys import KeyRing
from service.settings import Settings
from tests.end_to_end.processes import clean_environment, serve

EXAMPLES = os.environ.get("CONTRACT_EXAMPLES", "100")
"""Requests of each operation at most; as many again follow what answers lead to."""


@pytest.mark.system
@pytest.mark.timeout(3600)
@pytest.mark.requirement("BAD-1")
def test_every_answer_is_as_the_description_says(repository: Path, tmp_path: Path) -> None:
    """No server error, no status, header or body that is not described, and what is not described is refused.

    The service has a PACS, which is away, and a folder for corrections: without them it would only say so.
    """
    store = tmp_path / "store"
    key, _ = KeyRing(Settings(store=store).keys_file).create("tests", ["admin"], 1)
    # Its console script stands beside the interpreter.
    schemathesis = Path(sys.executable).with_name("schemathesis")
    settings = {"EFSNET_CORRECTIONS": str(tmp_path / "corrections"), "EFSNET_PACS_URL": "http://127.0.0.1:9"}
    with serve([sys.executable, "-m", "service", "serve"], store, **settings) as url:
        done = subprocess.run(
            [
                *(schemathesis, "--config-file", repository / "tests" / "end_to_end" / "contract.toml"),
                *("run", f"{url}/openapi.json", "--checks", "all", "--max-examples", EXAMPLES, "--seed", "1"),
                *("--no-shrink", "--continue-on-failure", "--header", f"Authorization: Bearer {key}"),
            ],
            cwd=tmp_path,
            env=clean_environment(SCHEMATHESIS_HOOKS="tests.end_to_end.contract_hooks", PYTHONPATH=str(repository)),
            capture_output=True,
            text=True,
            check=False,
        )

    assert 0 == done.returncode, done.stdout[-20_000:] + done.stderr
    assert "Tested: " in done.stdout

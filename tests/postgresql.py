"""A real PostgreSQL of Debian's packages in a folder of its own, which can be killed and started again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.end_to_end.processes import clean_environment, free_port

USER, PASSWORD = "efsnet", "Secret-of-the-tests"


def _programs() -> Path | None:
    """Debian has the server's programs apart from the others, by its version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class PostgreSQL:
    """One server on a free port of this machine. It refuses to run as root, and then is nobody's."""

    def __init__(self, folder: Path) -> None:
        programs = _programs()
        if programs is None:
            pytest.skip("needs Debian's postgresql")
        self._programs = programs
        self.port = free_port()
        self._data = folder / "data"
        self._log = folder / "log"
        self._as: dict[str, Any] = {"env": clean_environment(), "cwd": folder}
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
            self._as |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
        (folder / "password").write_text(PASSWORD, encoding="ascii")
        options = [
            "--auth=scram-sha-256",
            f"--username={USER}",
            f"--pwfile={folder / 'password'}",
            "--encoding=UTF8",
            "--no-sync",
        ]
        command: list[str | Path] = [programs / "initdb", f"--pgdata={self._data}", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._as)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, password: str = PASSWORD, query: str = "") -> str:
        """As EFSNET_JOBS_URL names it."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/postgres?{query}"

    def start(self) -> None:
        """Starts it, and returns once it takes connections."""
        options = [f"--port={self.port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories="]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options], stdout=log, stderr=log, **self._as
            )
        ready: list[str | Path] = [self._programs / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        for _ in range(600):
            if self._process.poll() is not None:
                break
            if subprocess.run(ready, check=False).returncode == 0:
                return
            subprocess.run(["sleep", "0.1"], check=True)
        pytest.fail(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """Ends it as a power cut would: the other processes of a server end with its first."""
        if self._process:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
            self._process.kill()
            self._process.wait()
            for child in children.split():
                subprocess.run(["kill", "-9", child], check=False, stderr=subprocess.DEVNULL)
            self._process = None

    def execute(self, statement: str) -> None:
        """What its administrator does."""
        engine = create_engine(self.url().replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def empty(self) -> None:
        """Takes all tables away."""
        self.execute("DROP SCHEMA public CASCADE")
        self.execute("CREATE SCHEMA public")


@contextmanager
def running_server() -> Iterator[PostgreSQL]:
    """A server that runs."""
    # Where also nobody finds it: the folders of pytest are for their owner alone.
    folder = Path(tempfile.mkdtemp(prefix="efsnet-postgresql-"))
    server = PostgreSQL(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)

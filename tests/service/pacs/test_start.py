"""What a service without a PACS has of all this."""

import subprocess
import sys


def test_a_service_without_a_pacs_loads_nothing_for_one() -> None:
    """Its start and its memory are as they were: no database, no client, no DICOM."""
    program = "import sys, service.__main__, service.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert not {"sqlalchemy", "httpx2", "pydicom", "highdicom", "service.pacs.connection"} & set(loaded)

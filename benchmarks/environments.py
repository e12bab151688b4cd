"""Virtual environments of what the product is compared with: each has its own, made when it is first asked for."""

import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parent.parent / "runs" / "peers"
REQUIREMENTS = Path(__file__).parent / "peers"


def interpreter(name: str, *, home: Path = HOME, requirements: Path = REQUIREMENTS) -> Path:
    """The Python that has what `requirements` lists in the file `name`.txt, and nothing of ours.

    It is made anew where it was made of another list, or not to its end.
    """
    listed = requirements / f"{name}.txt"
    installed = home / name / listed.name
    python = home / name / "bin" / "python"
    if not (installed.exists() and installed.read_bytes() == listed.read_bytes()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home / name)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(listed)], check=True)
        installed.write_bytes(listed.read_bytes())  # last: whatever is cut off before is made again
    return python

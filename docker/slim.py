"""Takes out of an environment what the service never loads: `python slim.py SITE_PACKAGES`, while its image is built.

A third of the environment is the ONNX Runtime wheel with OpenVINO. A wheel cannot hold links, so that it carries each
OpenVINO library up to three times; that of GDCM does the same.
"""

import hashlib
import shutil
import sys
from pathlib import Path

UNUSED = (
    "numpy/**/tests",
    "scipy/**/tests",
    # Of SciPy the service takes images apart with `ndimage`, which needs `special` and `linalg`.
    *(
        f"scipy/{part}"
        for part in (
            *("cluster", "datasets", "differentiate", "fft", "fftpack", "integrate", "interpolate", "io", "misc"),
            *("odr", "optimize", "signal", "sparse", "spatial", "stats"),
        )
    ),
    # Of SQLAlchemy it takes the core, with SQLite or PostgreSQL.
    "sqlalchemy/ext",
    "sqlalchemy/orm",
    "sqlalchemy/dialects/mssql",
    "sqlalchemy/dialects/mysql",
    "sqlalchemy/dialects/oracle",
    "pydicom/data/test_files",
    "_gdcm/XML",
    # For preparing graphs, not for running them.
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "mpmath",
    "sympy",
    # The provider runs on the CPU device of OpenVINO, and the Python module has ONNX Runtime in itself.
    "onnxruntime/capi/libopenvino_intel_gpu_plugin.so",
    "onnxruntime/capi/libopenvino_intel_npu_plugin.so",
    "onnxruntime/capi/libonnxruntime.so.*",
)


def remove_unused(site_packages: Path) -> None:
    for pattern in UNUSED:
        for path in list(site_packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def link_copies(folder: Path) -> None:
    """Of files with the same content keeps the one with the longest name, and makes the others links to it."""
    kept: dict[bytes, Path] = {}
    for path in sorted(folder.glob("*.so*"), key=lambda path: -len(path.name)):
        original = kept.setdefault(hashlib.sha256(path.read_bytes()).digest(), path)
        if original is not path:
            path.unlink()
            path.symlink_to(original.name)


if __name__ == "__main__":
    environment = Path(sys.argv[1])
    remove_unused(environment)
    link_copies(environment / "onnxruntime" / "capi")
    link_copies(environment / "_gdcm")

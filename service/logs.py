"""The log: one line an event, in UTC, to standard error."""

import logging
import time
import warnings


def configure() -> None:
    """Sends the service's log, and what uvicorn has to warn of, to standard error."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("service").setLevel(logging.INFO)
    # What libraries warn of may quote a file, and so name a patient.
    warnings.simplefilter("ignore")
    # Their warnings quote the body.
    for name in ("python_multipart", "pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

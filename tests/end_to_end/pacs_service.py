"""The service as a process for tests with a PACS: all of it, but an analysis that takes no time and is known.

An image whose SOP Instance UID ends with an even digit has a finding. Started with the port as its argument.
"""

import sys

from service import logs
from service.app import create_app
from service.server import Server
from service.settings import read_settings
from tests.service.pacs.conftest import FakeAnalysis


class KnownAnalysis(FakeAnalysis):
    """Finds something in every other image."""

    def finds(self, sop_instance_uid: str) -> bool:
        """Whether it finds something in this image."""
        return is_found(sop_instance_uid)


def is_found(sop_instance_uid: str) -> bool:
    """Whether the image has a finding."""
    return int(sop_instance_uid[-1]) % 2 == 0


if __name__ == "__main__":
    logs.configure()
    settings = read_settings(port=int(sys.argv[1]))
    Server(create_app(settings, analyse=KnownAnalysis()), settings).run()

"""What goes over the wire to a PACS."""

import base64
import itertools
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.errors import InstanceTooLarge, PacsError, PacsUnavailable, SettingsInvalid
from service.metrics import Metrics
from service.pacs.client import PacsClient
from service.pacs.sweep import studies
from service.pacs_settings import PacsSettings
from tests.service.pacs.conftest import Connect, FakePacs, image


def test_user_and_password_go_with_each_request(pacs: FakePacs, connect: Connect) -> None:
    """As HTTP Basic."""
    connect(user="efsnet", password="hunter2").client.search("studies")  # noqa: S106

    assert pacs.requests[0].headers["Authorization"] == f"Basic {base64.b64encode(b'efsnet:hunter2').decode()}"


def test_a_token_goes_with_each_request(pacs: FakePacs, connect: Connect) -> None:
    """As a bearer token."""
    connect(token="opaque").client.search("studies")  # noqa: S106

    assert pacs.requests[0].headers["Authorization"] == "Bearer opaque"


def test_wildcards_stay_as_they_are(pacs: FakePacs, connect: Connect) -> None:
    """Orthanc does not decode them; all else is escaped."""
    connect().client.search("studies", PatientID="A*?", StudyDescription="a & b")

    assert pacs.requests[0].url.query == b"PatientID=A*?&StudyDescription=a%20%26%20b"


def test_an_image_is_asked_for_as_it_is_stored(pacs: FakePacs, connect: Connect) -> None:
    """Without that, Orthanc transcodes it."""
    pacs.add(image())

    assert connect().client.retrieve(image()) == pacs.instances["1.2.1.1"][1]
    assert "transfer-syntax=*" in pacs.requests[0].headers["Accept"]


def test_an_image_over_the_limit_is_not_received(pacs: FakePacs, connect: Connect) -> None:
    """Whatever length the PACS names."""
    pacs.add(image(), BitsAllocated=8, PixelData=bytes(100_000))

    with pytest.raises(InstanceTooLarge, match="10,000"):
        connect(max_dicom_bytes=10_000).client.retrieve(image())


def test_a_pacs_that_knows_no_pages_is_read_once(pacs: FakePacs, connect: Connect) -> None:
    """One that sends everything, whatever the offset, is not asked for ever."""
    pacs.fails = lambda _: httpx2.Response(200, json=[{"0020000D": {"Value": ["1.2"]}}])

    assert len(list(connect().client.pages("studies"))) == 1


@pytest.mark.parametrize("status", [302, 307, 401, 403, 408, 429, 500, 503])
def test_what_may_pass_is_no_refusal(pacs: FakePacs, connect: Connect, status: int) -> None:
    """Such a request is made again later; a redirection is one to a login."""
    pacs.fails = lambda _: httpx2.Response(status, text="Planted^Name")

    with pytest.raises(PacsUnavailable) as error:
        connect().client.search("studies")
    assert str(status) in str(error.value)
    assert "Planted" not in str(error.value)


def test_a_study_that_is_gone_has_nothing_and_a_wrong_address_is_named(pacs: FakePacs, connect: Connect) -> None:
    """404 means one below a study, and the other above."""
    pacs.fails = lambda _: httpx2.Response(404)

    assert connect().client.instances("1.2") == []
    with pytest.raises(PacsUnavailable, match="EFSNET_PACS_URL"):
        connect().client.search("studies")


@pytest.mark.parametrize("status", [200, 202, 409])
def test_a_pacs_out_of_space_is_no_refusal(pacs: FakePacs, connect: Connect, status: int) -> None:
    """Its reason says that the same may succeed later (0xA700), with the status of a success or of a conflict."""
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
    pacs.fails = lambda _: httpx2.Response(status, json=failed)

    with pytest.raises(PacsUnavailable, match="42752"):
        connect().client.store("1.2", b"DICOM")


@pytest.mark.parametrize(
    "body",
    [
        '{"error": "Planted^Name"}',
        '["Planted^Name"]',
        '[{"00080018": "Planted^Name"}]',
        '[{"00080018": {"vr": "UI", "Value": "Planted^Name"}}]',
        '[{"00080018": {"vr": "UI", "Value": [null]}, "0020000E": {"Value": [{}]}, "00080060": null}]',
        '{"00081198": null}',
        '{"00081198": {"Value": ["Planted^Name", {"00081197": {"Value": ["Planted^Name"]}}]}}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_whatever_a_pacs_answers_is_an_answer_or_its_fault(
    pacs: FakePacs, connect: Connect, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    """JSON of another form is told in our words; nothing else is raised that would be a fault of ours."""
    pacs.fails = lambda _: httpx2.Response(200, content=body.encode("utf-8", "surrogateescape"))
    client = connect().client
    said = []
    for ask in (
        lambda: client.instances("1.2"),
        lambda: client.holds("1.2", "1.2.1.1"),
        lambda: client.store("1.2", b"DICOM"),
        lambda: list(studies(client, {})),
    ):
        try:
            assert not ask()
        except PacsError as error:
            said.append(str(error))

    assert "Planted" not in " ".join(said) + caplog.text


def test_an_answer_without_end_is_not_received(pacs: FakePacs, connect: Connect) -> None:
    """No search takes more memory than its limit."""
    chunk = b" " * 1_000_000
    pacs.fails = lambda _: httpx2.Response(200, content=itertools.repeat(chunk))

    with pytest.raises(PacsUnavailable, match="50,000,000"):
        connect().client.search("studies")


def test_an_answer_that_trickles_is_given_up() -> None:
    """A byte a minute would hold a thread for days, and never be late for the next byte."""
    minutes = itertools.count(step=60)
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=itertools.repeat(b" ")))
    settings = PacsSettings(url="http://pacs.test")
    client = PacsClient(settings, Metrics("0"), max_bytes=1000, transport=transport, clock=lambda: next(minutes))

    with pytest.raises(PacsUnavailable, match="600 s"):
        client.search("studies")


def test_a_pacs_that_sends_few_at_once_is_asked_for_the_rest(pacs: FakePacs, connect: Connect) -> None:
    """Many limit what they send, and say so nowhere: no image of a large study is left out."""
    pacs.most = 7
    for number in range(1, 31):
        pacs.add(image(number))

    assert len(connect().client.instances("1.2")) == 30


def test_a_uid_that_is_none_keeps_nobody_from_the_others(
    pacs: FakePacs, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither other images of its study, nor other studies: it is told in the log, and passed over."""
    strange = {"00080018": {"Value": ["1.2.x"]}, "0020000E": {"Value": ["1.2.1"]}, "0020000D": {"Value": ["../1"]}}
    sound = {"00080018": {"Value": ["1.2.1.1"]}, "0020000E": {"Value": ["1.2.1"]}, "0020000D": {"Value": ["1.2"]}}
    pacs.fails = lambda _: httpx2.Response(200, json=[strange, sound])
    client = connect().client

    assert client.instances("1.2") == [image()]
    assert list(studies(client, {})) == ["1.2"]
    assert caplog.text.count("passed over") == 2


class Authority:
    """Makes certificates, its own first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.certificate = folder / "authority.pem"
        made = self._signed(self._name, self._key.public_key(), authority=True)
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> Path:
        """A certificate and its key, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
        return path

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        return builder.add_extension(address, critical=False).sign(self._key, hashes.SHA256())


class Answer(BaseHTTPRequestHandler):
    """A PACS that finds nothing."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom the PACS and the service trust."""
    return Authority(tmp_path)


@pytest.fixture
def secured(authority: Authority) -> Iterator[str]:
    """Address of a PACS that asks for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("pacs"))
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that is refused is no noise
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def client_of(**settings: object) -> PacsClient:
    """A client with these settings."""
    return PacsClient(PacsSettings.model_validate(settings), Metrics("0"), max_bytes=1000)


def test_both_sides_prove_who_they_are(authority: Authority, secured: str) -> None:
    """With our certificate the PACS answers; without, or without trusting its own, it cannot be used."""
    ours = authority.issue("service")
    known = client_of(url=secured, ca_file=authority.certificate, certificate=ours)
    nameless = client_of(url=secured, ca_file=authority.certificate)
    doubting = client_of(url=secured, certificate=ours)

    assert known.search("studies") == []
    for client in (nameless, doubting):
        with pytest.raises(PacsUnavailable):
            client.search("studies")
    for client in (known, nameless, doubting):
        client.close()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """At the start, not at the first image."""
    with pytest.raises(SettingsInvalid, match="EFSNET_PACS_CA_FILE"):
        client_of(url="https://pacs", ca_file=tmp_path / "missing.pem")

"""A call ends with its time, whatever comes drop by drop: the handshake, the headers, or a greeting."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from django.core.mail import EmailMessage

from sync.integrations import smtp
from sync.integrations.deadline import Deadline


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that a server of this machine may show, with its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    whole = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    path.write_bytes(whole)
    return path


@pytest.fixture
def port(certificate: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """Where a server takes one connection and does as the parameter says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    is_over = threading.Event()

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with plain:
            if request.param == "handshake":
                is_over.wait(20)
                return
            with plain if request.param == "mail" else context.wrap_socket(plain, server_side=True) as taken:
                if "mail" not in request.param:
                    taken.recv(65_536)
                if request.param == "answer":
                    taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                for _ in range(200):
                    if request.param == "answer" or is_over.wait(0.1):
                        return
                    try:
                        taken.sendall(b"H")
                    except OSError:
                        return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,), daemon=True)
        serving.start()
        yield listener.getsockname()[1]
        is_over.set()
        serving.join(10)


def ask(port: int, certificate: Path, deadline: Deadline) -> bytes:
    with deadline, requests.Session() as session:
        session.trust_env = False
        deadline.bound(session)
        return session.get(f"https://localhost:{port}/", verify=str(certificate), timeout=(15, 15)).content


@pytest.mark.parametrize("port", ["answer"], indirect=True)
def test_what_comes_in_time_is_left_alone(port: int, certificate: Path) -> None:
    deadline = Deadline(20)
    assert ask(port, certificate, deadline) == b"{}"
    assert not deadline.is_over


@pytest.mark.parametrize("port", ["handshake", "headers"], indirect=True)
def test_p9_what_comes_drop_by_drop_is_cut(port: int, certificate: Path) -> None:
    deadline, began = Deadline(1), time.monotonic()
    with pytest.raises(requests.RequestException):
        ask(port, certificate, deadline)
    assert deadline.is_over
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("port", "is_secure"), [("mail", False), ("mail over TLS", True)], indirect=["port"])
def test_p9_a_mail_server_that_greets_drop_by_drop_is_cut(
    port: int, is_secure: bool, settings: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    settings.EMAIL_BACKEND, settings.EMAIL_TIMEOUT, settings.EMAIL_USE_SSL = smtp.SMTP, 1, is_secure
    settings.EMAIL_HOST, settings.EMAIL_PORT = "localhost", port
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        smtp.send(EmailMessage("Subject", "Text", to=["a@example.org"]))
    assert 1.5 < time.monotonic() - began < 6

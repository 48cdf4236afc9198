"""TLS with a private server that refuses plain connections: every way of reading verifies certificates."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import connectorx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import insert, text

from recommender.database import _connectorx, connect, read_catalog, read_ratings, read_table
from recommender.database.bulk_read import Way
from recommender.database.schema import metadata, products, ratings
from recommender.errors import DatabaseError, SettingError
from recommender.settings import Settings, load_settings
from tests.conftest import require_mariadb
from tests.support.mariadb_server import MariaDBServer

NOW = datetime.datetime.now(datetime.UTC)
LOCAL = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))
SECONDS = 25  # a refusal has to be quicker than connectorx's own 30 seconds


class Authority:
    """A certificate authority with its file, and the server certificates that it signs."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        authority = x509.BasicConstraints(ca=True, path_length=None)
        self.file = self._write(f"{name}.pem", self._signed(self.name, self.key, authority))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW - datetime.timedelta(days=1))
        builder = builder.not_valid_after(NOW + datetime.timedelta(days=2))
        return builder.add_extension(extension, critical=False).sign(self.key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        file = self.folder / name
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def server_options(self, *names: x509.GeneralName) -> list[str]:
        """Options of a server with a certificate for these names that refuses plain connections."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
        certificate = self._write("server.pem", self._signed(subject, key, x509.SubjectAlternativeName(names)))
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        key_file = self.folder / "server.key"
        key_file.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
        return [f"--ssl-cert={certificate}", f"--ssl-key={key_file}", "--require-secure-transport=ON"]


def _running_server(*names: x509.GeneralName) -> Iterator[tuple[MariaDBServer, Authority]]:
    require_mariadb()
    folder = Path(tempfile.mkdtemp(prefix="recommender-tls-"))
    authority = Authority(folder, "authority")
    server = MariaDBServer(folder, authority.server_options(*names))
    server.start()
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE shop")
    yield server, authority
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def tls() -> Iterator[tuple[MariaDBServer, Authority]]:
    """A server with a good certificate for 127.0.0.1 and localhost, and its authority."""
    yield from _running_server(*LOCAL)


@pytest.fixture(scope="module")
def misnamed() -> Iterator[tuple[MariaDBServer, Authority]]:
    """A server with a certificate for another host, by the same kind of authority."""
    yield from _running_server(x509.DNSName("db.example.com"), x509.IPAddress(ipaddress.ip_address("192.0.2.1")))


def _settings(server: MariaDBServer, ca: Path | None, host: str = "127.0.0.1") -> Settings:
    environ = server.environment("shop") | {"DB_HOST": host, "DB_SSL_CA": str(ca or "")}
    return load_settings(environ=environ, env_file=server.folder / "no.env")


@pytest.fixture(scope="module")
def shop(tls: tuple[MariaDBServer, Authority]) -> Settings:
    """Settings of a database with one product and one rating on the TLS server."""
    server, authority = tls
    settings = _settings(server, authority.file)
    engine = connect(settings, create=True)
    metadata.create_all(engine)
    time_ = datetime.datetime(2024, 1, 1)
    with engine.begin() as connection:
        facts = {"stars": 4.5, "reviews": 3, "price": 9.99, "listPrice": 0.0, "category_id": 1}
        facts |= {"isBestSeller": False, "boughtInLastMonth": 0}
        connection.execute(insert(products), [{"asin": "000000000X", "title": "größer 🎁", **facts}])
        row = {"user_id": 7, "product_id": "000000000X", "rating": 4.5, "created_at": time_, "updated_at": time_}
        connection.execute(insert(ratings), [row])
    engine.dispose()
    return settings


def _seconds(call: Callable[[], object], expected: type[Exception]) -> tuple[str, float]:
    start = time.monotonic()
    with pytest.raises(expected) as refusal:
        call()
    return str(refusal.value), time.monotonic() - start


def _is_one_clean_line(message: str) -> bool:
    return "\n" not in message and MariaDBServer.password not in message and "%23" not in message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_session_is_encrypted_with_a_verified_certificate(shop: Settings, tls: object, host: str) -> None:
    assert isinstance(tls, tuple)
    server, authority = tls
    engine = connect(_settings(server, authority.file, host))
    with engine.connect() as connection:
        _, cipher = connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()
    engine.dispose()
    assert cipher.startswith(("TLS_", "ECDHE"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("way", ["connectorx", "packed", "streamed"])
def test_every_way_of_reading_ratings_works_over_tls(
    shop: Settings, tls: tuple[MariaDBServer, Authority], way: Way, host: str
) -> None:
    server, authority = tls
    engine = connect(_settings(server, authority.file, host))
    # the server refuses plain connections (see below), so an answer proves encryption
    columns = read_ratings(engine, way=way)
    engine.dispose()
    assert (columns.user_ids.tolist(), columns.products.to_pylist()) == ([7], ["000000000X"])
    assert columns.steps.tolist() == [9]


@pytest.mark.parametrize("way", ["connectorx", "streamed"])
def test_every_way_of_reading_tables_works_over_tls(shop: Settings, way: Way) -> None:
    engine = connect(shop)
    table = read_table(engine, [products.c.asin, products.c.title, products.c.price], way=way)
    assert table.to_pylist() == [{"asin": "000000000X", "title": "größer 🎁", "price": 9.99}]
    assert read_catalog(engine).titles.to_pylist() == ["größer 🎁"]
    engine.dispose()


def test_a_plain_connection_is_refused_with_a_hint_to_db_ssl_ca(
    shop: Settings, tls: tuple[MariaDBServer, Authority]
) -> None:
    server, _ = tls
    message, seconds = _seconds(lambda: connect(_settings(server, None)), DatabaseError)
    assert "DB_SSL_CA" in message
    assert _is_one_clean_line(message)
    assert seconds < SECONDS


def test_connectorx_without_tls_is_refused_by_that_server(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof by require_secure_transport needs this: the same engine without the CA is refused."""
    engine = connect(shop)
    engine.update_execution_options(ssl_ca="")
    monkeypatch.setattr(_connectorx, "CONNECT_TIMEOUT", 2)  # a good login takes 0.1
    message, seconds = _seconds(lambda: read_ratings(engine, way="connectorx"), DatabaseError)
    engine.dispose()
    assert "connectorx" in message
    assert seconds < SECONDS


def test_a_certificate_of_another_authority_is_refused(
    shop: Settings, tls: tuple[MariaDBServer, Authority], tmp_path: Path
) -> None:
    server, _ = tls
    stranger = Authority(tmp_path, "stranger")
    message, seconds = _seconds(lambda: connect(_settings(server, stranger.file)), DatabaseError)
    assert "certificate" in message
    assert "DB_SSL_CA" in message
    assert _is_one_clean_line(message)
    assert seconds < SECONDS


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_for_another_host_is_refused(misnamed: tuple[MariaDBServer, Authority], host: str) -> None:
    server, authority = misnamed
    message, seconds = _seconds(lambda: connect(_settings(server, authority.file, host)), DatabaseError)
    assert "certificate" in message
    assert _is_one_clean_line(message)
    assert seconds < SECONDS


@pytest.mark.parametrize("fault", ["authority", "host"])
def test_connectorx_itself_refuses_a_wrong_certificate(
    shop: Settings,
    misnamed: tuple[MariaDBServer, Authority],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """Its check must not depend on the Python driver's: the engine is good, only connectorx's address is not."""
    engine = connect(shop)
    good = _connectorx._address(engine)
    server, authority = misnamed
    if fault == "authority":
        engine.update_execution_options(ssl_ca=str(Authority(tmp_path, "stranger").file))
        bad = _connectorx._address(engine)
    else:
        engine.update_execution_options(ssl_ca=str(authority.file))
        bad = _connectorx._address(engine).replace(f":{shop.db_port}/", f":{server.port}/")
    assert bad != good
    # except for the one check, that address is good
    lenient = bad.replace("verify_identity", "required" if fault == "authority" else "verify_ca")
    answer: Any = connectorx.read_sql(lenient, "SELECT 1 AS one", return_type="arrow")
    assert answer.to_pydict() == {"one": [1]}
    monkeypatch.setattr(_connectorx, "_address", lambda _: bad)
    monkeypatch.setattr(_connectorx, "CONNECT_TIMEOUT", 2)
    with caplog.at_level(logging.WARNING):
        message, seconds = _seconds(lambda: read_ratings(engine, way="connectorx"), DatabaseError)
    assert "connectorx" in message
    assert all(_is_one_clean_line(record.getMessage()) for record in caplog.records)
    assert seconds < SECONDS
    assert _connectorx._serves[engine] is False, "it logged in"
    assert read_ratings(engine).steps.tolist() == [9]  # another way serves
    engine.dispose()


def test_an_invalid_ca_file_is_named(tls: tuple[MariaDBServer, Authority], tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("not a certificate")
    message, _ = _seconds(lambda: connect(_settings(tls[0], file)), SettingError)
    assert "DB_SSL_CA" in message
    assert _is_one_clean_line(message)


def test_a_server_without_tls_is_refused_when_a_ca_is_set(mariadb: MariaDBServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    message, seconds = _seconds(lambda: connect(_settings(mariadb, authority.file), create=True), DatabaseError)
    assert "SSL" in message
    assert _is_one_clean_line(message)
    assert seconds < SECONDS

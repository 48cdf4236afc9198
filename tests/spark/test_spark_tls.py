"""Executors speak verified TLS with a server that takes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from recommender.database import connect
from recommender.errors import SparkError
from recommender.settings import Settings
from recommender.spark.causes import explained
from recommender.spark.jdbc_source import JdbcSource
from recommender.spark.session import MARIADB_DRIVER, MYSQL_DRIVER
from tests.database.test_tls import LOCAL, Authority, _running_server, _settings
from tests.spark.test_jdbc_source import rows
from tests.support.mariadb_server import MariaDBServer
from tests.support.shop import fill

Server = tuple[MariaDBServer, Authority]


@pytest.fixture(scope="module")
def secure() -> Iterator[Server]:
    yield from _running_server(*LOCAL)


@pytest.fixture(scope="module")
def shop(secure: Server) -> Settings:
    """Settings of a database with one rating on that server."""
    server, authority = secure
    settings = _settings(server, authority.file)
    engine = connect(settings, create=True)
    fill(engine, {1: {"a": 4}}, ["a"])
    engine.dispose()
    return settings


def refused(spark: Any, settings: Settings, given: Settings) -> str:
    """The one line of a reading by executors whose settings are ``given``."""
    engine = connect(settings)
    try:
        with pytest.raises(SparkError) as error, explained():
            JdbcSource(spark, engine, given, MARIADB_DRIVER).read()
    finally:
        engine.dispose()
    assert settings.db_password not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_executors_read_over_verified_tls(spark: Any, shop: Settings) -> None:
    engine = connect(shop)
    found = JdbcSource(spark, engine, shop, MARIADB_DRIVER).read()
    engine.dispose()
    assert [row[:3] for row in rows(found.frames.ratings)] == [(1, "a", 8)]


def test_a_certificate_of_another_authority_or_none_is_refused(spark: Any, shop: Settings, tmp_path: Any) -> None:
    other = Authority(tmp_path, "other")
    assert "certificat" in refused(spark, shop, replace(shop, db_ssl_ca=str(other.file))).lower()
    refused(spark, shop, replace(shop, db_ssl_ca=""))


def test_a_certificate_for_another_host_is_refused(spark: Any, shop: Settings) -> None:
    for server, authority in _running_server(x509.DNSName("db.example.com")):
        there = _settings(server, authority.file)
        line = refused(spark, shop, there)
        assert "127.0.0.1" in line


def test_mysqls_driver_is_not_used_with_a_pem_file(spark: Any, shop: Settings) -> None:
    engine = connect(shop)
    with pytest.raises(SparkError, match="MySQL's JDBC driver takes no PEM file, and DB_SSL_CA is one"):
        JdbcSource(spark, engine, shop, MYSQL_DRIVER)
    engine.dispose()

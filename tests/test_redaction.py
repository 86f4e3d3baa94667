"""One parser of database addresses; what is printed in place of secrets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geocorrect.redaction import ServerAddress, is_server_address, masked, redact, without_secrets


@pytest.mark.parametrize(
    ("address", "clean", "parsed"),
    [
        ("postgresql://u:p4ss@h:5/d", "postgresql://u:***@h:5/d", "postgresql://u:p4ss@h:5/d"),
        ("postgresql://u:p/4@s?s@h/d?sslmode=require", "postgresql://u:***@h/d?sslmode=require",
         "postgresql://u:p%2F4%40s%3Fs@h/d?sslmode=require"),
        ("postgres://u:p%40ss@h/d", "postgresql://u:***@h/d", "postgresql://u:p%40ss@h/d"),
        ("postgresql+psycopg://u@/d?host=/run&password=a%26b", "postgresql://u@/d?host=/run&password=***",
         "postgresql://u@/d?host=/run&password=a%26b"),
        ("postgresql://h/d?sslpassword=x&pass%77ord=y", "postgresql://h/d?sslpassword=***&password=***",
         "postgresql://h/d?sslpassword=x&password=y"),
        ("host=h user=u password='a b\\'c' dbname=d", "postgresql://u:***@/d?host=h",
         "postgresql://u:a%20b%27c@/d?host=h"),
        ("postgresql://a@b@h/d", "postgresql://a%40b@h/d", "postgresql://a%40b@h/d"),
        ("postgresql:///d", "postgresql:///d", "postgresql:///d"),
        ("postgresql://h1,h2/d?host=a&host=b", "postgresql://h1,h2/d?host=a&host=b",
         "postgresql://h1,h2/d?host=a&host=b"),
    ],
)  # fmt: skip
def test_an_address_is_parsed_and_masked(address: str, clean: str, parsed: str) -> None:
    assert is_server_address(address)
    assert masked(address) == clean
    assert ServerAddress.parse(address).url() == parsed
    for secret in ("p4ss", "4@s", "p%40ss", "a%26b", "a b"):
        assert secret not in without_secrets(address)
    assert "password" not in without_secrets(address)
    assert "p4ss" not in repr(ServerAddress.parse(address))


@pytest.mark.long
@settings(max_examples=100)
@given(st.text(min_size=4).filter(lambda s: s not in "postgresql://user:***@host/database?sslmode=require"))
def test_whatever_the_password(password: str) -> None:
    for address in (
        f"postgresql://user:{password}@host/database?sslmode=require",
        ServerAddress("user", password, "host/database", (("sslmode", "require"),)).url(),
    ):
        assert password not in masked(address)
        assert ServerAddress.parse(address).location == "host/database"


@pytest.mark.parametrize("password", ["abc?x=1", "?x=1", "a/b?x=1", "p4ss?w%40rd=2"])
def test_a_password_that_looks_like_a_query(password: str) -> None:
    for query, parameters in (("", ()), ("?sslmode=require", (("sslmode", "require"),))):
        address = f"postgresql://me:{password}@host:5432/db{query}"
        assert masked(address).startswith("postgresql://me:***@host:5432/db")
        found = ServerAddress.parse(address)
        assert (found.location, found.parameters) == ("host:5432/db", parameters)
    assert ServerAddress.parse("postgresql://host:5432/db?user=a@b").location == "host:5432/db"


def test_a_connection_string_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="key=value") as caught:
        ServerAddress.parse("password=my secret host=h")
    assert "secret" not in str(caught.value)
    assert masked("password=my secret host=h") == "a connection string"


@pytest.mark.parametrize("path", ["catalog.gpkg", "/a=b/catalog.gpkg", "gpkg:///x/y.gpkg", "mysql://u:s@h/d"])
def test_other_addresses_are_no_server(path: str) -> None:
    assert not is_server_address(path)
    assert without_secrets(path) == path


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://u:p4ss@h/d failed", "postgresql://u:***@h/d failed"),
        ("'postgresql://u:p/4@ss@h/d' is", "'postgresql://u:***@h/d' is"),
        ("host=h password=p4ss user=u", "host=h password=*** user=u"),
        ("password='a b' PGPASSWORD=c", "password=*** PGPASSWORD=***"),
        ("{'password': 'a', 'sslpassword': \"b\"}", "{'password': ***, 'sslpassword': ***}"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("https://me:secret@proxy:80/x", "https://***@proxy:80/x"),
        ("with hf_abcdefghijklmnopqrstuvwx.", "with ***."),
    ],
)
def test_texts_are_redacted(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_the_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAPILLARY_TOKEN", "an|unusual-token")
    assert redact("an|unusual-token an%7Cunusual-token!") == "*** ***!"

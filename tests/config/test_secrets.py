"""What is secret is named as such, wherever it stands, and never shown when it is wrong."""

from sozu_trio.config import bodies, schema
from sozu_trio.config.report import Report
from sozu_trio.config.secrets import SECRETS
from sozu_trio.config.structure import keys_of, structure, structure_fields
from sozu_trio.config.verbs import BODIES


def test_a_secret_of_the_wrong_kind_is_not_shown_in_a_file() -> None:
    report = Report()
    structure({"clusters": {"api": {"authorized_hashes": "geheim; want this", "protocol": 7}}}, report)
    assert [str(problem) for problem in report.problems] == [
        "clusters.api.protocol: found 7; want 'http' or 'tcp'",
        "clusters.api.authorized_hashes: found (redacted); want an array",
    ]


def test_nor_in_a_request() -> None:
    report = Report()
    structure_fields({"id": "api", "authorized-hash": ["geheim", 12345]}, report, bodies.ClusterBody)
    assert [str(problem) for problem in report.problems] == [
        "authorized-hash[1]: found (redacted); want a string",
    ]


def test_every_key_that_sounds_secret_is() -> None:
    tables = [kind for kind in vars(schema).values() if isinstance(kind, type) and kind.__name__.endswith("Table")]
    keys = {key.replace("-", "_") for table in (*tables, *BODIES.values()) for key in keys_of(table)}
    sounding = {key for key in keys if {"key", "hash", "hashes", "password", "secret", "token"} & set(key.split("_"))}
    assert sounding - SECRETS == {"affinity_key"}  # which says what of a client to go by
    assert sounding & SECRETS

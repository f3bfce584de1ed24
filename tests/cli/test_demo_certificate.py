"""The certificate of the demonstration, and the file of its authority."""

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509

from sozu_trio.cli.demo_certificate import authority_file, open_demo_certificate
from sozu_trio.errors import OperatorError
from sozu_trio.main.certificates import ANY_TIME


def test_it_is_for_this_machine_and_signed_by_the_authority() -> None:
    with open_demo_certificate() as made:
        pem = made.file.read_bytes()
        certificate = ANY_TIME.certificate(pem, pem)
        assert (certificate.names, certificate.addresses) == (("localhost",), ("127.0.0.1", "::1"))
        leaf, authority = x509.load_pem_x509_certificate(pem), x509.load_pem_x509_certificate(made.authority)
        leaf.verify_directly_issued_by(authority)
        assert b"PRIVATE KEY" not in made.authority
        descriptor = int(made.file.name)
        assert not os.get_inheritable(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_each_start_has_an_authority_of_its_own() -> None:
    with open_demo_certificate() as one, open_demo_certificate() as other:
        assert one.authority != other.authority


def test_the_file_is_there_while_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    path.write_bytes(b"left by one that was killed")
    with authority_file(path, b"certificate"):
        assert path.read_bytes() == b"certificate"
    assert not path.exists()


def test_nothing_is_written_where_a_link_leads(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "authority.pem", tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    with authority_file(path, b"certificate"):
        assert stat.S_ISREG(path.lstat().st_mode)
    assert not elsewhere.exists()


@pytest.mark.parametrize("other", [b"that of the next one", None])
def test_what_somebody_else_has_put_there_stays(tmp_path: Path, other: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    with authority_file(path, b"certificate"):
        path.unlink()
        if other is not None:
            path.write_bytes(other)
    assert path.exists() == (other is not None)


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "authority.pem"
    with pytest.raises(OperatorError, match=r"absent/authority\.pem: No such file"), authority_file(path, b""):
        raise AssertionError

"""What a worker has to have done once before it is sealed: modules that are imported, and files that are read, only at
first use could not be had any more.
"""

import contextlib
import ctypes  # Trio imports it as well.
import encodings.idna
import encodings.latin_1
import encodings.punycode
import linecache
import logging
import os
import ssl
import stringprep
import time
import traceback
import unicodedata
import zoneinfo
from typing import Final

USED: Final = (encodings.idna, encodings.latin_1, encodings.punycode, linecache, stringprep, unicodedata, zoneinfo)
HERE: Final = ":/etc/localtime"
"""What TZ says where it says nothing; with TZ unset libc looks whether that file has changed, each time."""
WITHOUT_CERTIFICATE: Final = "AECDH-AES256-SHA:@SECLEVEL=0"


def warm_up() -> None:
    """Do all of it."""
    _know_the_time_zone()
    _format_a_traceback()
    _shake_hands()
    _read_the_end_of_a_certificate()
    _let_threads_end()


def _know_the_time_zone() -> None:
    os.environ.setdefault("TZ", HERE)
    time.tzset()
    time.strftime("%c %Z", time.localtime())


def _format_a_traceback() -> None:
    try:
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise ExceptionGroup("outer", [error]) from error
    except ExceptionGroup as group:
        traceback.format_exception(group)
        record = logging.LogRecord("warm_up", logging.DEBUG, __file__, 0, "", None, (type(group), group, None))
        logging.Formatter().format(record)


def _shake_hands() -> None:
    """A TLS handshake in memory, without a certificate: OpenSSL reads its configuration and fetches what it needs."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for context in (server, client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with contextlib.suppress(ssl.SSLError):
            context.set_ciphers(WITHOUT_CERTIFICATE)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
    with contextlib.suppress(ssl.SSLError):
        for end in ends * 3:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()


def _read_the_end_of_a_certificate() -> None:
    """`strptime` imports its other half, which knows the locale, when it is called first."""
    ssl.cert_time_to_seconds("Jan  1 00:00:00 2000 GMT")


def _let_threads_end() -> None:
    """libc loads libgcc when a thread ends by pthread_exit(3). None is started: it would be there a while longer."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")

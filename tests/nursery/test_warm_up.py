"""What happens for the first time happens before the sandbox."""

from tests.nursery.sealed import run


def test_nothing_is_imported_or_opened_the_second_time() -> None:
    code = """
import sys, trio
from sozu_trio.nursery.warm_up import warm_up
warm_up()
before = set(sys.modules)
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments) if event in ("open", "import") else None)
import ssl, traceback, time
ssl.cert_time_to_seconds("Dec 31 23:59:59 2049 GMT")
"bücher".encode("idna")
time.strftime("%c %Z", time.localtime())
warm_up()
print(set(sys.modules) - before, [each for each in opened if str(each[0]).startswith("/")])
"""
    assert run(code) == "set() []"


def test_the_time_zone_stays() -> None:
    code = """
import os
from sozu_trio.nursery.warm_up import warm_up
os.environ["TZ"] = "Pacific/Apia"
warm_up()
print(os.environ["TZ"])
del os.environ["TZ"]
warm_up()
print(os.environ["TZ"])
"""
    assert run(code) == "Pacific/Apia\n:/etc/localtime"

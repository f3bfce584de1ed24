"""Values that only bodies of the control socket have."""

from typing import Any, get_args

import pytest

from sozu_trio.config import options
from sozu_trio.config.clusters import LoadMetric, Position
from sozu_trio.config.values import Unfit

TAGS = "want tags, such as 'owner=web,stage=test' or an object of strings"


def read(kind: Any, value: object) -> Any:
    _, reader = get_args(kind)
    return reader(value)


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (options.ClusterId, "api", "api"),
        (options.BackendId, "api 1", "api 1"),
        (options.Policy, "least-loaded", "LEAST_LOADED"),
        (options.Policy, "Power_Of-Two", "POWER_OF_TWO"),
        (options.Policy, "maglev", "MAGLEV"),
        (options.Metric, "CONNECTION-TIME", LoadMetric.CONNECTION_TIME),
        (options.Place, "pre", Position.PRE),
        (options.Hostname, "*.Example.com", "*.Example.com"),
        (options.PlainPath, "/(", "/("),
        (options.PathRegex, "/.*", "/.*"),
        (options.Tags, "", {}),
        (options.Tags, "a=b,c=d=e,", {"a": "b", "c": "d=e"}),
        (options.Tags, {"a": "b", "c": ""}, {"a": "b", "c": ""}),
    ],
)
def test_read(kind: Any, value: object, wanted: object) -> None:
    assert read(kind, value) == wanted


@pytest.mark.parametrize(
    ("kind", "value", "complaint"),
    [
        (options.ClusterId, "", "found ''; want the id of a cluster, such as api"),
        (options.BackendId, 1, "found 1; want the id of a backend, such as api-1"),
        (options.Policy, "hr", "found 'hr'; want 'ROUND_ROBIN', 'RANDOM', 'LEAST_LOADED' or 'POWER_OF_TWO'"),
        (options.Metric, "cpu", "found 'cpu'; want 'connections', 'requests' or 'connection_time'"),
        (options.Place, None, "found null; want 'PRE', 'TREE' or 'POST'"),
        (options.PlainPath, 3, "found 3; want a string"),
        (options.Tags, "a", f"found 'a'; {TAGS}"),
        (options.Tags, "=a", f"found '=a'; {TAGS}"),
        (options.Tags, "a=b,a=c", f"found 'a=b,a=c'; {TAGS}"),
        (options.Tags, {"a": 1}, f"found a table; {TAGS}"),
        (options.Tags, ["a=b"], f"found an array; {TAGS}"),
    ],
)
def test_refused(kind: Any, value: object, complaint: str) -> None:
    with pytest.raises(Unfit) as caught:
        read(kind, value)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("kind", "value", "complaint"),
    [
        (options.Hostname, "a..b", "'a..b' is not a host"),
        (options.PathRegex, "(", r"'\(' is not a regex"),
        (options.PlainPath, "/a?b", "ends before the '\\?'"),
    ],
)
def test_patterns_are_judged_as_those_of_the_file(kind: Any, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read(kind, value)


def test_tags_cannot_be_changed_later() -> None:
    with pytest.raises(TypeError):
        read(options.Tags, {"a": "b"})["a"] = "c"

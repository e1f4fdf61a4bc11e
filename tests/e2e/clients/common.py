"""What the Python clients share: where the gateway is, the keys, and requests through the data path."""

import collections
import http.client
import os

ENDPOINT = os.environ["WEIR_DIALECTS"]
HOST = "shop.example.com"


def key(role):
    """Id and secret of the key of this role."""
    return os.environ[f"WEIR_{role}_ID"], os.environ[f"WEIR_{role}_SECRET"]


def get(path="/", headers=None):
    """One request over HTTP: the version that answered."""
    connection = http.client.HTTPConnection(os.environ["WEIR_HTTP"])
    connection.request("GET", path, headers={"host": HOST, **(headers or {})})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return answer.getheader("x-weir-version")


def counted(versions):
    """How often each version answered."""
    return dict(collections.Counter(versions))


def same(what, found, expected):
    assert found == expected, f"{what}: {found!r} instead of {expected!r}"

"""S3 of this machine: moto's server, in which writes with conditions are atomic."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast
from urllib.request import urlopen

import pytest

from .faults import Traffic
from .wsgi import Application, Faulty

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
OTHERS = ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL")
"""What would lead a client past the server."""


@contextmanager
def environment(values: Mapping[str, str], without: Iterable[str] = ()) -> Iterator[None]:
    """Set variables of the environment, and put back what was there."""
    before = dict(os.environ)
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def serve_s3(bucket: str = "bucket", traffic: Traffic | None = None) -> Iterator[str]:
    """Serve S3, empty but for a bucket, until the end of the block; needs moto.

    Parameters
    ----------
    bucket : str
    traffic : Traffic, optional
        Record and plan of faults; paths begin with the bucket.

    Yields
    ------
    str
        URL; it is also ``AWS_ENDPOINT_URL``, which boto3 and its kin read, beside
        credentials that moto takes. Processes that are started meanwhile see them too.
    """
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    boto3 = pytest.importorskip("boto3")
    with environment(CREDENTIALS, OTHERS):
        server.start()
        try:
            host, port = server.get_host_and_port()
            url = f"http://{host}:{port}"
            os.environ["AWS_ENDPOINT_URL"] = url
            inner = server._server
            # Dropped connections need no traceback.
            logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
            # moto keeps buckets for the life of a process.
            urlopen(f"{url}/moto-api/reset", data=b"").close()
            client = boto3.client("s3", endpoint_url=url)
            client.create_bucket(Bucket=bucket)
            client.close()
            inner.app = Faulty(cast(Application, inner.app), traffic or Traffic())
            yield url
        finally:
            server.stop()
            server._server.server_close()

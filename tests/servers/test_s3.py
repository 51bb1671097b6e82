"""S3 answers boto3, and writes on conditions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from .clients import CONTENT, PATH
from .faults import Traffic
from .s3 import serve_s3


@pytest.fixture
def s3() -> Iterator[tuple[Any, Traffic]]:
    traffic = Traffic()
    boto3 = pytest.importorskip("boto3")
    config = pytest.importorskip("botocore.config")
    once = config.Config(retries={"total_max_attempts": 1})
    with serve_s3("zoo", traffic):
        client = boto3.client("s3", config=once)
        yield client, traffic
        client.close()


def code(error: Any) -> int:
    status: int = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def test_s3_has_ranges_and_faults(s3: tuple[Any, Traffic]) -> None:

    client, traffic = s3
    errors = pytest.importorskip("botocore.exceptions")
    tag = client.put_object(Bucket="zoo", Key=PATH, Body=CONTENT)["ETag"]
    assert client.get_object(Bucket="zoo", Key=PATH)["Body"].read() == CONTENT
    part = client.get_object(Bucket="zoo", Key=PATH, Range="bytes=5-8", IfMatch=tag)
    assert part["Body"].read() == CONTENT[5:9]
    assert traffic.sent["weights"] == len(CONTENT) + 4
    traffic.unavailable("/zoo/*")
    with pytest.raises(errors.ClientError, match="SlowDown"):
        client.get_object(Bucket="zoo", Key=PATH)
    traffic.unavailable("/zoo/*", method="PUT")
    with pytest.raises(errors.ClientError, match="SlowDown"):
        client.put_object(Bucket="zoo", Key=PATH, Body=b"late")
    assert client.head_object(Bucket="zoo", Key=PATH)["ETag"] == tag
    traffic.corrupt("/zoo/*")
    bad = client.get_object(Bucket="zoo", Key=PATH, Range="bytes=0-9")["Body"].read()
    assert bad == b"\xff" + CONTENT[1:10]
    traffic.drop("/zoo/*", after=100)
    with pytest.raises((errors.ResponseStreamingError, errors.ClientError)):
        client.get_object(Bucket="zoo", Key=PATH)["Body"].read()


def test_s3_writes_on_conditions(s3: tuple[Any, Traffic]) -> None:

    client, _ = s3
    errors = pytest.importorskip("botocore.exceptions")
    tag = client.put_object(Bucket="zoo", Key="head", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"else"'}):
        with pytest.raises(errors.ClientError) as refused:
            client.put_object(Bucket="zoo", Key="head", Body=b"2", **condition)
        assert code(refused) == 412
    with pytest.raises(errors.ClientError) as missing:
        client.put_object(Bucket="zoo", Key="none", Body=b"2", IfMatch=tag)
    assert code(missing) == 404
    started = {"Bucket": "zoo", "Key": "head"}
    started["UploadId"] = client.create_multipart_upload(**started)["UploadId"]
    part = client.upload_part(**started, PartNumber=1, Body=b"parts")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"else"'}):
        with pytest.raises(errors.ClientError) as refused:
            client.complete_multipart_upload(**started, MultipartUpload=parts, **condition)
        assert code(refused) == 412
    done = client.complete_multipart_upload(**started, MultipartUpload=parts, IfMatch=tag)
    tag = done["ETag"]
    won = []

    def write(number: int) -> None:
        try:
            client.put_object(Bucket="zoo", Key="head", Body=b"%d" % number, IfMatch=tag)
        except errors.ClientError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert client.get_object(Bucket="zoo", Key="head")["Body"].read() == b"%d" % won[0]

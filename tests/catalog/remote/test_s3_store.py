"""A bucket is read with the user's credentials, or without any."""

import pytest

import catalog
from catalog.remote.publish import Publish
from tests.catalog.remote.conftest import served


def test_a_public_bucket_is_read_without_credentials(zoo, contents, tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    with served("s3", tmp_path, monkeypatch) as place:
        Publish(zoo, place.destination, license="mit").run()
        client = boto3.Session().client("s3")
        for file in client.list_objects_v2(Bucket="zoos")["Contents"]:
            client.put_object_acl(Bucket="zoos", Key=file["Key"], ACL="public-read")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        assert boto3.Session().get_credentials() is None
        catalog.fetch(place.source, tmp_path / "copy")
    assert contents(catalog.open(tmp_path / "copy")) == contents(zoo)

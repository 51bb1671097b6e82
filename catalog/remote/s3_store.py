"""A catalogue in an S3 bucket, with the credentials of the standard places."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from catalog.errors import CatalogError, NotFound
from catalog.remote.store import (
    BLOCK,
    LARGEST_HEAD,
    HeadMoved,
    Outgoing,
    RemoteHead,
    TransferInterrupted,
    check_committed,
)
from catalog.storage.card_files import DESCRIPTIONS

THREADS = 8
_MISSING = ("404", "NoSuchKey", "NotFound")
_MOVED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class S3Store:
    """A prefix of a bucket as a store; see `catalog.remote.store.WritableStore`.

    Parameters
    ----------
    bucket, prefix : str

    Notes
    -----
    Credentials, region and endpoint are those of boto3: environment, shared files, roles.
    Without credentials requests are not signed, so that public buckets can be read.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        return S3Store, (self._bucket, self._prefix.removesuffix("/"))

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        session = boto3.Session()
        retries = {"mode": "standard", "max_attempts": 5}
        settings = Config(retries=retries, max_pool_connections=16)
        if session.get_credentials() is None:  # public buckets need none
            settings = settings.merge(Config(signature_version=UNSIGNED))
        return session.client("s3", config=settings)

    def head(self) -> RemoteHead:
        """Read HEAD and its entity tag."""
        with self._refusals("HEAD"):
            try:
                answer = self._client.get_object(**self._object("HEAD"))
            except self._client.exceptions.NoSuchKey:
                return RemoteHead(None, "")
            with contextlib.closing(answer["Body"]) as body:
                return RemoteHead(body.read(LARGEST_HEAD + 1), answer["ETag"])

    def read(self, path: str, limit: int) -> bytes:
        """Read a small file."""
        with self._refusals(path):
            answer = self._client.get_object(**self._object(path))
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] > limit:
                    raise CatalogError(
                        f"{self.address}/{path} has more than {limit:,} bytes."
                    )
                data: bytes = body.read()
                return data

    def stream(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Read a part of a file, in pieces."""
        if stop <= start:
            return
        left = stop - start
        with self._refusals(path):
            part = {"Range": f"bytes={start}-{stop - 1}"}
            answer = self._client.get_object(**self._object(path), **part)
            with contextlib.closing(answer["Body"]) as body:
                for block in body.iter_chunks(BLOCK):
                    yield block[:left]
                    left -= len(block[:left])
        if left:
            raise TransferInterrupted(
                f"{self.address}/{path} ended {left:,} bytes before its end."
            )

    def present(self, files: Sequence[Outgoing]) -> set[str]:
        """Return the paths of files that were uploaded with the same content."""
        with ThreadPoolExecutor(THREADS) as pool:
            held = list(pool.map(self._holds, files))
        return {file.path for file, there in zip(files, held, strict=True) if there}

    def _holds(self, file: Outgoing) -> bool:
        with self._refusals(file.path):
            try:
                found = self._client.head_object(**self._object(file.path))
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return False
                raise
        digest = found.get("Metadata", {}).get("sha256")
        return bool(found["ContentLength"] == file.bytes and digest == file.sha256)

    def put(self, files: Sequence[Outgoing], moved: Callable[[int], None]) -> None:
        """Upload files; S3 compares their checksums."""

        def upload(file: Outgoing) -> None:
            check_committed(file)
            with self._refusals(file.path):
                self._client.upload_file(
                    str(file.source),
                    self._bucket,
                    self._prefix + file.path,
                    ExtraArgs={"Metadata": {"sha256": file.sha256}},
                    Callback=moved,
                )

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(upload, files):
                pass

    def commit(
        self,
        records: Mapping[str, bytes],
        head: bytes,
        replaces: RemoteHead,
        superseded: Collection[str] = (),
    ) -> None:
        """Write records, and then HEAD by a conditional request."""
        written: list[str] = []
        try:
            for path, data in records.items():
                # Two publishers may have chosen one number for their versions.
                new = path.startswith("snapshots/")
                self._write(path, data, {"IfNoneMatch": "*"} if new else {})
                written.append(path)
            first = replaces.text is None
            condition = {"IfNoneMatch": "*"} if first else {"IfMatch": replaces.token}
            self._write("HEAD", head, condition)
        except HeadMoved:
            # Nobody reads them without HEAD; copies of the prefix should not have them.
            for path in written:
                if path not in DESCRIPTIONS:
                    self._delete(path)
            raise
        # They are not needed, so that a user who may not delete has published all the same.
        with contextlib.suppress(CatalogError):
            for path in superseded:
                self._delete(path)

    def _delete(self, path: str) -> None:
        with self._refusals(path):
            self._client.delete_object(**self._object(path))

    def _write(self, path: str, data: bytes, condition: Mapping[str, str]) -> None:
        with self._refusals(path):
            try:
                self._client.put_object(**self._object(path), Body=data, **condition)
            except self._client.exceptions.ClientError as error:
                if condition and error.response["Error"]["Code"] in (*_MOVED, *_MISSING):
                    raise HeadMoved(f"{self.address} was changed meanwhile.") from None
                raise

    def _object(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + path}

    @contextlib.contextmanager
    def _refusals(self, path: str) -> Iterator[None]:
        """Turn errors of boto3 into errors of stores that show no signature."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        shown = f"{self.address}/{path}"
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in _MISSING:
                raise NotFound(f"{shown} is missing.") from None
            if code in ("SlowDown", "InternalError", "ServiceUnavailable", "500", "503"):
                raise TransferInterrupted(f"{shown} answers {code}.") from None
            raise CatalogError(
                f"{shown} refuses: {code}. Check the bucket's name, and your credentials: "
                "aws sts get-caller-identity"
            ) from None
        except (BotoCoreError, Boto3Error) as error:
            name = type(error).__name__
            if name in ("NoCredentialsError", "ProfileNotFound", "PartialCredentialsError"):
                raise CatalogError(
                    f"{shown}: no credentials were found ({name}). Set AWS_PROFILE, or "
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
                ) from None
            raise TransferInterrupted(f"{shown}: {name}.") from None

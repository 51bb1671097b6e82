"""SVHN, cropped digits: 73,257 + 26,032 colour images of 32x32."""

from zoo.task import Hub, Task

svhn = Task(
    "svhn",
    "SVHN",
    (3, 32, 32),
    10,
    5_000,
    hub=Hub("ufldl-stanford/svhn", config="cropped_digits"),
)

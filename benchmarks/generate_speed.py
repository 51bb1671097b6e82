"""Claim: sampling and evaluating a thousand networks in stacks beats a loop over modules.

A saved generator (`generate_cohort.py --keep`). Ours: `sample(n)` and `Exam.answers`.
Against what a user would write with the same generator: one network at a time is sampled,
loaded into a `torch.nn` module, and run on the test images. Also against a loop that gets
its samples all at once, and of the evaluation alone. Contestants alternate, with as many
threads each.

    python benchmarks/generate_speed.py DIR/seed_0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from timing import alternate, digits, report

from catalog.dtypes import Array
from generators.exam import Exam
from generators.methods import DeepWeightFlow
from zoo.workers.process import tune_process


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("generator", type=Path, help="a saved DeepWeightFlow")
    parser.add_argument("--data", type=Path, help="folder with the data as files")
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=50, help="of them in the slow loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of all contestants")
    options = parser.parse_args()
    tune_process(options.threads)
    generator = DeepWeightFlow.load(options.generator)
    exam = Exam.of(generator.training_, folder=options.data)
    architecture = exam.networks.architecture
    module = architecture.module().eval()
    x, labels = exam.inputs("test", exam.samples("test"))
    x = x.reshape(-1, *x.shape[-(x.dim() - 1) :])
    n, alone = options.networks, options.alone
    made = generator.sample(n).weights

    def looped(weights: Array) -> list[float]:
        found = []
        for row in weights:
            own = architecture.layout.unflatten(row)
            module.load_state_dict({k: torch.from_numpy(v) for k, v in own.items()})
            with torch.no_grad():
                found.append(float((module(x).argmax(-1) == labels).float().mean()))
        return found

    ours = exam.answers(made).accuracy
    assert np.abs(np.array(looped(made[:20])) - ours[:20]).max() < 2e-3

    seconds = alternate(
        {
            "stacked": lambda: exam.answers(generator.sample(n).weights),
            "one_at_a_time": lambda: [
                looped(generator.sample(1, seed=i).weights) for i in range(alone)
            ],
            "sampled_together": lambda: looped(generator.sample(n).weights),
            "stacked_evaluation": lambda: exam.answers(made),
            "looped_evaluation": lambda: looped(made),
        },
        options.rounds,
    )
    seconds["one_at_a_time"] *= n / alone
    report(
        "generate_speed", networks=n, threads=options.threads,
        architecture=architecture.name,
        seconds={name: digits(value) for name, value in seconds.items()},
        ratio=digits(seconds["one_at_a_time"] / seconds["stacked"]),
        ratio_sampled_together=digits(seconds["sampled_together"] / seconds["stacked"]),
        ratio_evaluation=digits(
            seconds["looped_evaluation"] / seconds["stacked_evaluation"]
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()

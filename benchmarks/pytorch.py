"""ResNet20 on TensorFlow against the same network in PyTorch's eager mode, in turn in one process.

    python -m benchmarks.pytorch [--rounds 40]

Batch 128 of CIFAR-10's shape, no attention, SGD with Nesterov momentum; PyTorch has to be
installed. Prints the least time of each, and how many times as fast this project is.
"""

import dataclasses
import importlib.util

import numpy as np

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import least_times, own_network, steps_of
from utils.config.command_line import fail
from utils.config.fields import Settings, setting
from utils.config.parsing import integer
from utils.system.backend import choose_backend

OURS, THEIRS = "this project", "PyTorch"


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    rounds: int = setting(40, integer(1), "rounds in which everything runs once")


def torch_resnet20(classes):
    """ResNet20 as one writes it in PyTorch, from pixels to logits."""
    from torch import nn

    def conv_norm(inputs, filters, size=3, stride=1):
        conv = nn.Conv2d(inputs, filters, size, stride, size // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(filters))

    class Block(nn.Module):
        def __init__(self, inputs, filters, stride):
            super().__init__()
            first, second = conv_norm(inputs, filters, 3, stride), conv_norm(filters, filters)
            self.residual = nn.Sequential(first, nn.ReLU(inplace=True), second)
            same = inputs == filters
            self.shortcut = nn.Identity() if same else conv_norm(inputs, filters, 1, stride)

        def forward(self, x):
            return nn.functional.relu(self.residual(x) + self.shortcut(x), inplace=True)

    parts, inputs = [conv_norm(3, 16), nn.ReLU(inplace=True)], 16
    for filters in (16, 32, 64):
        for block in range(3):
            parts.append(Block(inputs, filters, 2 if filters > 16 and block == 0 else 1))
            inputs = filters
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)]
    return nn.Sequential(*parts)


def torch_steps(batch, side, classes):
    """Functions that run one training step and predict one batch, as `steps_of` gives them."""
    import torch

    model = torch_resnet20(classes)
    rng = np.random.default_rng(0)
    images = torch.tensor(rng.normal(size=(batch, 3, side, side)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, classes, batch))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True)

    def train():
        model.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict():
        model.eval()
        with torch.inference_mode():
            return model(images).numpy()

    return train, predict


@one_line_errors
def main():
    settings = parse(BenchSettings, "pytorch", __doc__)
    if importlib.util.find_spec("torch") is None:
        fail("PyTorch is not installed; its CPU build is enough: see pytorch.org")
    choose_backend("tensorflow")
    ours, batch = own_network("resnet20", "none")
    side, classes = ours.input_shape[1], ours.output_shape[-1]
    pairs = {OURS: steps_of(ours, batch), THEIRS: torch_steps(batch, side, classes)}
    print(f"ResNet20, batch {batch}; least of {settings.rounds} rounds")
    for what, least in least_times(pairs, settings.rounds):
        for name, time in least.items():
            print(f"{what:<16}{name:<14}{1e3 * time:8.1f} ms   {least[THEIRS] / time:.2f} x")


if __name__ == "__main__":
    main()

"""The convolutional encoder that TAG trains on faces, with one linear head a task."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from taskgroup_core.errors import InputError

EPSILON = 1e-3  # of the released code's batch norm


def _convolution(n_inputs: int, width: int) -> nn.Conv2d:
    layer = nn.Conv2d(n_inputs, width, 3, padding=1, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer


class Residual(nn.Module):
    """A convolution, a residual block of two more, pooling after each, and linear heads on all that is left.

    With pictures of 64 x 64, width 64 and nine outputs it has 205,449 parameters, 129,609 of them in the heads.

    Parameters
    ----------
    n_outputs : number of heads, one logit each.
    size : height and width of the pictures in pixels, 8 or more; TAG's are 64.
    width : channels of every convolution; TAG's are 64.

    Raises
    ------
    InputError : a size or width out of range.

    References
    ----------
    Fifty et al., Efficiently Identifying Task Groupings for Multi-Task Learning, 2021, B.6, and its released code;
    Principled task grouping and SCA take the same network.

    Deviations
    ----------
    1. The paper says "based loosely on ResNet 18". Its released code has one residual block of two convolutions after
       a first one, three in all; that is what is built here. SCA calls the same code a ResNet-15.
    2. One logit a task where the released code has two and a softmax: the same family of functions.
    3. Running statistics move by a tenth a step, torch's default, where the released code's move by a hundredth:
       short trainings would else be judged by statistics of the first steps.
    4. The released code starts all heads of a kind from the same numbers, because all layers share one seed. Here each
       output has its own; `SampleConvergenceAffinity` can make them equal.
    """

    def __init__(self, n_outputs: int, size: int = 64, width: int = 64) -> None:
        super().__init__()
        if size < 8:
            raise InputError("size", str(size), "Use pictures of 8 pixels or more.")
        if width < 1:
            raise InputError("width", str(width), "Use 1 channel or more.")
        self.stem, self.stem_norm = _convolution(3, width), nn.BatchNorm2d(width, EPSILON)
        self.first, self.first_norm = _convolution(width, width), nn.BatchNorm2d(width, EPSILON)
        self.second, self.second_norm = _convolution(width, width), nn.BatchNorm2d(width, EPSILON)
        side = ((size - 3) // 2 + 1) // 2
        self.heads = nn.Linear(side * side * width, n_outputs)
        nn.init.xavier_uniform_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits with shape (B, n_outputs) of pictures with shape (B, 3, size, size) and values from 0 to 255."""
        # Scaled here, so that pictures are kept as bytes until a batch of them is needed.
        pictures = inputs.to(self.stem.weight.dtype) / 255
        seen = max_pool2d(relu(self.stem_norm(self.stem(pictures))), 3, 2)
        changed = self.second_norm(self.second(relu(self.first_norm(self.first(seen)))))
        outputs: Tensor = self.heads(avg_pool2d(relu(changed + seen), 2).flatten(1))
        return outputs

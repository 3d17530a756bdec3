"""Muon: orthogonal updates for the kernels of convolutions, Nesterov momentum for all else."""

from typing import Any

import keras
from keras import ops

# of the odd polynomial of degree five that every iteration applies to the singular values: it is
# steep at zero, so that three iterations bring most of them near one
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EPSILON = 1e-7  # instead of a division by zero
WIDEST, NARROWEST = 128, 32  # filters of a block


@keras.saving.register_keras_serializable(package="attention_zoo")
class Muon(keras.optimizers.SGD):
    """SGD with Nesterov momentum that makes the updates of convolution kernels orthogonal.

    A kernel `(height, width, input channels, filters)` counts as a matrix with a column per filter,
    or, with more than 128 filters, as several: whole, those of wide networks would add up to a
    third to the work of a step. The singular values of an update are brought near one: directions
    with small gradients are learned as fast as those with large ones. An update has the length
    `learning_rate` times the norm that He initialization gives the kernel, `sqrt(2 * filters)`, and
    no update makes a kernel longer than that, or than it is already. Behind a normalization only
    its direction matters, and so the rate is that at which the direction turns.

    Kernels of a single filter, among them those of depthwise convolutions, and weights that do not
    have four axes learn by Nesterov momentum alone, at a rate of their own.

    Args:
        learning_rate: float or `LearningRateSchedule`. Defaults to 0.02, for batches of 128.
        kernel_momentum: float in [0, 1), Nesterov momentum of the updates that are made orthogonal.
            Defaults to 0.9.
        newton_schulz: int, how often the polynomial is applied. Defaults to 3.
        rate_of_others: float, the rate of the other weights as a multiple of `learning_rate`.
            Defaults to 4.
        momentum: float above 0 and below 1, Nesterov momentum of the other weights. Defaults to
            0.9.
        name: string, the optimizer's name. Defaults to `"muon"`.
        **options: options of `keras.optimizers.SGD`.

    Raises:
        ValueError: a momentum is not allowed.

    Reference:

    - [Muon: An optimizer for hidden layers](https://kellerjordan.github.io/posts/muon/)
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.02,
        kernel_momentum: float = 0.9,
        newton_schulz: int = 3,
        rate_of_others: float = 4.0,
        momentum: float = 0.9,
        name: str = "muon",
        **options: Any,
    ) -> None:
        if not 0 < momentum < 1:  # without one, Keras's SGD has no variables for it
            raise ValueError(f"momentum must be above 0 and below 1, received {momentum}")
        if not 0 <= kernel_momentum < 1:
            raise ValueError(
                f"kernel_momentum must be at least 0 and below 1, received {kernel_momentum}"
            )
        options = {"nesterov": True, **options}
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **options)
        self.kernel_momentum = kernel_momentum
        self.newton_schulz = newton_schulz
        self.rate_of_others = rate_of_others

    def get_config(self) -> dict[str, Any]:
        own = ("kernel_momentum", "newton_schulz", "rate_of_others")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def bounds_norm(self, variable: Any) -> bool:
        """Returns whether the updates of a variable are made orthogonal, and its norm bounded.

        Such a kernel needs no L2 penalty; where the gradient is small, orthogonal updates would
        consist of little else.
        """
        return len(variable.shape) == 4 and variable.shape[-1] > 1

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not self.bounds_norm(variable):
            super().update_step(gradient, variable, learning_rate * self.rate_of_others)
            return
        momentum = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        mean = self.kernel_momentum * momentum + gradient
        self.assign(momentum, mean)
        update = gradient + self.kernel_momentum * mean
        blocks = orthogonal(_to_blocks(update), self.newton_schulz)
        direction = ops.reshape(ops.swapaxes(blocks, 0, 1), variable.shape)
        norm = (2 * variable.shape[-1]) ** 0.5  # of He initialization
        rate = ops.cast(learning_rate, variable.dtype) * norm
        moved = variable - direction * (rate / (_norm(direction) + EPSILON))
        longest = ops.maximum(_norm(variable), norm)
        self.assign(variable, moved * (longest / ops.maximum(_norm(moved), longest)))


def _to_blocks(kernel):
    """A kernel as matrices of as many filters each, `(blocks, rows, filters of a block)`."""
    *_, filters = kernel.shape
    fitting = [
        filters // width for width in range(WIDEST, NARROWEST - 1, -1) if filters % width == 0
    ]
    blocks = fitting[0] if filters > WIDEST and fitting else 1
    return ops.swapaxes(ops.reshape(kernel, (-1, blocks, filters // blocks)), 0, 1)


def orthogonal(matrices: Any, iterations: int = 3) -> Any:
    """Brings the singular values of matrices near one, by a Newton-Schulz iteration.

    It iterates on the product of a matrix with itself, of the shorter side: a convolution's kernel,
    as a matrix, is often nine times as long as wide.

    Args:
        matrices: tensor `(..., rows, columns)` of known shape.
        iterations: int, how often the polynomial is applied; three leave most singular values
            between 0.5 and 1.5. Defaults to 3.

    Returns:
        A tensor of the same shape, with the same singular vectors; zeros for zeros.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[-2] >= matrices.shape[-1]
    x = matrices / (_norm(matrices, axis=(-2, -1)) + EPSILON)
    transposed = ops.swapaxes(x, -2, -1)
    squares = ops.matmul(transposed, x) if is_tall else ops.matmul(x, transposed)
    identity = ops.eye(squares.shape[-1], dtype=x.dtype)
    product = None
    for number in range(iterations):
        factor = a * identity + ops.matmul(b * identity + c * squares, squares)
        product = factor if product is None else ops.matmul(factor, product)
        if number + 1 < iterations:
            squares = ops.matmul(ops.matmul(factor, squares), factor)
    return ops.matmul(x, product) if is_tall else ops.matmul(product, x)


def _norm(tensor, axis=None):
    return ops.sqrt(ops.sum(ops.square(tensor), axis=axis, keepdims=axis is not None))

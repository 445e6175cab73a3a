"""Our own networks, each a `features` stack of blocks followed by a `classifier`."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from imgcls.messages import UserError
from imgcls.models.layers import AdaptivePool, Dropout, GlobalMaxPool, Residual, ScaledLinear, Whitening

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": functools.partial(nn.ReLU, inplace=True),
    "gelu": nn.GELU,
    "silu": functools.partial(nn.SiLU, inplace=True),
    "mish": functools.partial(nn.Mish, inplace=True),
}
INITS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "default": None,  # PyTorch's: uniform, variance 1 / (3 fan_in), biases too
    "glorot": nn.init.xavier_uniform_,  # Keras's: Glorot & Bengio 2010
    "he": functools.partial(nn.init.kaiming_normal_, nonlinearity="relu"),  # He et al. 2015, fan_in
}


def cifar_cnn(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    *,
    batch_norm: bool = False,
    dropout: float = 0.0,
    widths: Sequence[int] = (32, 64, 128),
    hidden_features: int = 128,
    init: str = "default",
) -> nn.Sequential:
    """The baseline CNN of case 05: blocks of conv-conv-pool, one hidden layer, one output layer.

    Batch norm is between each layer and its ReLU; dropout after each block and after the hidden layer. With batch
    norm, ten classes and 32 px it has 552,874 parameters and running statistics, as in the original report.
    """
    blocks = OrderedDict()
    channels = in_channels
    for i, width in enumerate(widths, start=1):
        first, (*second, relu) = (_conv(c, width, batch_norm=batch_norm) for c in (channels, width))
        # Pooling first gives the same values and saves 3/4 of the ReLU's work: `pool_before_relu` of `make bench`.
        blocks[f"block{i}"] = nn.Sequential(*first, *second, nn.MaxPool2d(2), relu, *_dropout(dropout))
        channels = width
    side = _side(image_size, len(widths))
    classifier = [
        AdaptivePool(side),  # the identity at image_size; makes other sizes possible
        nn.Flatten(),
        nn.Linear(channels * side**2, hidden_features),
        *([nn.BatchNorm1d(hidden_features)] if batch_norm else []),
        nn.ReLU(inplace=True),
        *_dropout(dropout),
        nn.Linear(hidden_features, num_classes),
    ]
    return _assemble(blocks, classifier, init)


def cifar_fast(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    *,
    widths: Sequence[int] = (64, 128, 256),
    whitening: bool = True,
    residual: bool = False,
    activation: str = "silu",
    logit_scale: float = 1 / 9,
) -> nn.Sequential:
    """A wide, shallow network for small images that trains in minutes: the best of case 05, after Jordan 2024.

    A first convolution of 2x2 pixels, blocks of conv-pool-conv with batch norm and no biases, global max-pooling, one
    linear layer (arXiv:2404.00498). A convolution before a pooling, where each filter costs most, has at most twice
    the filters of the previous convolution. The last block pools first, so its wide convolutions see a quarter of the
    positions. Convolutions are initialised as the identity as far as possible. Images of other sizes are accepted.

    Args:
        num_classes: outputs.
        in_channels: image channels.
        image_size: side in pixels; only checked, since no layer depends on it.
        widths: filters of each block.
        whitening: take the first filters from the images (`Whitening`) instead of training them.
        residual: add the input of each block's second convolution to its output.
        activation: relu, gelu, silu or mish.
        logit_scale: factor of the outputs, which keeps the gradients of the last layer small.
    """
    _side(image_size - 1, len(widths))  # the first convolution takes a pixel
    first = Whitening(in_channels) if whitening else nn.Conv2d(in_channels, 8 * in_channels, 2)
    stack = OrderedDict(first=nn.Sequential(first, ACTIVATIONS[activation]()))
    channels = first.out_channels
    for i, width in enumerate(widths, start=1):
        between = min(width, 2 * channels)
        pooled = _lean_conv(channels, between, activation)
        *same, act = _lean_conv(between, width, activation)
        pooled.insert(1 if i < len(widths) else 0, nn.MaxPool2d(2))
        stack[f"block{i}"] = nn.Sequential(*pooled, (Residual if residual else nn.Sequential)(*same, act))
        channels = width
    classifier = [GlobalMaxPool(), nn.Flatten(), ScaledLinear(channels, num_classes, logit_scale)]
    return nn.Sequential(OrderedDict(features=nn.Sequential(stack), classifier=nn.Sequential(*classifier)))


def simple_cnn(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 64,
    *,
    blocks: int = 4,
    filters: int = 32,
    kernel_size: int = 3,
    batch_norm: bool = False,
    squeeze_excitation: bool = False,
    init: str = "default",
) -> nn.Sequential:
    """The CNN of case 01: blocks of convolution, ReLU and 2x2 max-pooling, then one linear layer.

    Options beyond the case: batch norm between each convolution and its ReLU, and squeeze-and-excitation before each
    pooling (Hu et al. 2018, section 3).
    """
    stack = OrderedDict()
    channels = in_channels
    for i in range(1, blocks + 1):
        conv = _conv(channels, filters, kernel_size, batch_norm=batch_norm)
        gate = [_squeeze_excitation(filters)] if squeeze_excitation else []
        stack[f"block{i}"] = nn.Sequential(*conv, *gate, nn.MaxPool2d(2))
        channels = filters
    side = _side(image_size, blocks)
    classifier = [AdaptivePool(side), nn.Flatten(), nn.Linear(channels * side**2, num_classes)]
    return _assemble(stack, classifier, init)


def configurable_cnn(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 64,
    *,
    layers: int = 5,
    filters: int = 64,
    filter_multiplier: float = 1.0,
    kernel_size: int = 3,
    activation: str = "relu",
    batch_norm: bool = True,
    dropout: float = 0.3,
    hidden_features: int = 256,
    init: str = "default",
) -> nn.Sequential:
    """The CNN of the sweep in case 04: each conv layer is followed by 2x2 max-pooling.

    Args:
        num_classes: outputs.
        in_channels: image channels.
        image_size: side in pixels, at least 2**layers; sets the width of the flattened features.
        layers: conv layers, 3 to 5 in the sweep.
        filters: filters of the first layer; 64 on RGB make 1,792 parameters.
        filter_multiplier: each further layer has this many times the filters of the one before (0.5, 1 or 2).
        kernel_size: side of the filters, odd.
        activation: relu, gelu, silu or mish.
        batch_norm: after each convolution.
        dropout: before and after the hidden layer.
        hidden_features: width of the hidden layer.
        init: default, glorot or he.
    """
    stack = OrderedDict()
    channels = in_channels
    for i in range(1, layers + 1):
        width = max(1, round(filters * filter_multiplier ** (i - 1)))
        conv = _conv(channels, width, kernel_size, batch_norm=batch_norm, activation=activation)
        stack[f"block{i}"] = nn.Sequential(*conv, nn.MaxPool2d(2))
        channels = width
    side = _side(image_size, layers)
    classifier = [
        AdaptivePool(side),
        nn.Flatten(),
        *_dropout(dropout),
        nn.Linear(channels * side**2, hidden_features),
        ACTIVATIONS[activation](),
        *_dropout(dropout),
        nn.Linear(hidden_features, num_classes),
    ]
    return _assemble(stack, classifier, init)


def zfnet(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.5,
    hidden_features: int = 4096,
    init: str = "default",
) -> nn.Sequential:
    """ZFNet (Zeiler & Fergus 2013, "Visualizing and Understanding Convolutional Networks", figure 3).

    Adaptive pooling before the linear layers accepts any image size; at 224 px it changes nothing.
    """
    del image_size  # the same layers for every size
    norm = functools.partial(nn.LocalResponseNorm, 5, alpha=5e-4, k=2.0)  # alpha is divided by the 5 inside
    pool = functools.partial(nn.MaxPool2d, 3, stride=2, padding=1)
    blocks = OrderedDict(
        block1=nn.Sequential(*_conv(in_channels, 96, 7, stride=2, padding=1), pool(), norm()),
        block2=nn.Sequential(*_conv(96, 256, 5, stride=2, padding=0), pool(), norm()),
        block3=nn.Sequential(*_conv(256, 384)),
        block4=nn.Sequential(*_conv(384, 384)),
        block5=nn.Sequential(*_conv(384, 256), nn.MaxPool2d(3, stride=2, ceil_mode=True)),
    )
    classifier = [
        AdaptivePool(6),
        nn.Flatten(),
        nn.Linear(256 * 6 * 6, hidden_features),
        nn.ReLU(inplace=True),
        *_dropout(dropout),
        nn.Linear(hidden_features, hidden_features),
        nn.ReLU(inplace=True),
        *_dropout(dropout),
        nn.Linear(hidden_features, num_classes),
    ]
    return _assemble(blocks, classifier, init)


NETWORKS: dict[str, Callable[..., nn.Sequential]] = {
    "cifar_baseline": cifar_cnn,
    "cifar_batchnorm": functools.partial(cifar_cnn, batch_norm=True),
    "cifar_dropout": functools.partial(cifar_cnn, batch_norm=True, dropout=0.25),
    "cifar_fast": cifar_fast,
    "simple_cnn": simple_cnn,
    "configurable_cnn": configurable_cnn,
    "zfnet": zfnet,
}
"""Name -> constructor, called with (num_classes, in_channels, image_size, **options)."""

CHOICES = {"activation": ACTIVATIONS, "init": INITS}
"""Options whose values are names, with the names they accept."""


def _conv(
    channels: int,
    filters: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    padding: int | None = None,
    batch_norm: bool = False,
    activation: str = "relu",
) -> list[nn.Module]:
    padding = kernel_size // 2 if padding is None else padding
    conv = nn.Conv2d(channels, filters, kernel_size, stride=stride, padding=padding)
    return [conv, *([nn.BatchNorm2d(filters)] if batch_norm else []), ACTIVATIONS[activation]()]


def _lean_conv(channels: int, filters: int, activation: str) -> list[nn.Module]:
    """Convolution without bias, initialised as the identity if possible, and batch norm with high momentum."""
    conv = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
    if filters >= channels:
        nn.init.dirac_(conv.weight.data[:channels])
    return [conv, nn.BatchNorm2d(filters, momentum=0.4), ACTIVATIONS[activation]()]


def _squeeze_excitation(channels: int) -> nn.Module:
    from torchvision.ops import SqueezeExcitation  # slow to import, needed only here

    return SqueezeExcitation(channels, max(4, channels // 8))


def _dropout(p: float) -> list[nn.Module]:
    return [Dropout(p)] if p else []


def _side(image_size: int, halvings: int) -> int:
    if image_size < 2**halvings:
        raise UserError(
            f"{halvings} poolings halve images of {image_size} px down to nothing; "
            f"choose image_size >= {2**halvings} or fewer layers"
        )
    return image_size // 2**halvings


def _assemble(blocks: OrderedDict[str, nn.Module], classifier: list[nn.Module], init: str) -> nn.Sequential:
    network = nn.Sequential(OrderedDict(features=nn.Sequential(blocks), classifier=nn.Sequential(*classifier)))
    if INITS[init]:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                INITS[init](module.weight)
                nn.init.zeros_(module.bias)
    return network

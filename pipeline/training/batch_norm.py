"""Batch normalization as a help in training: put into a network, and folded into its convolutions afterwards."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def add_norms(model: nn.Module, count: int, of: str = "pooled") -> None:
    """Normalize batches after the last `count` convolutions, as a help in training (Ioffe and Szegedy, 2015).

    Args:
        of: 'pooled' values, a quarter as many, or 'all'. Of pooled ones the scale stays 1 (the bias is learned),
            because a positive scale is what makes pooling and normalizing change places, and so lets `fold_norms`
            take the norm out of the network again.
    """
    names = [name for name, layer in model.named_children() if isinstance(layer, nn.Conv2d)]
    for name in names[max(0, len(names) - count) :]:
        convolution = model.get_submodule(name)
        norm = nn.BatchNorm2d(convolution.out_channels).to(convolution.weight.device)
        if of == "all":
            setattr(model, name, nn.Sequential(convolution, norm))
        else:
            norm.weight.requires_grad_(False)
            setattr(model, name.replace("conv", "norm"), norm)


def fold_norms(model: nn.Module) -> None:
    """Put what the norms do in evaluation into the convolutions' weights, and take the norms away."""
    for name, layer in list(model.named_children()):
        if isinstance(layer, nn.BatchNorm2d):
            convolution = model.get_submodule(name.replace("norm", "conv"))
            convolution.load_state_dict(fuse_conv_bn_eval(convolution.eval(), layer.eval()).state_dict())
            setattr(model, name, None)
        elif isinstance(layer, nn.Sequential):
            setattr(model, name, fuse_conv_bn_eval(*layer.eval()))

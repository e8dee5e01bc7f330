"""Changes of the colours of whole batches of images, each image with its own strength.

    images  float (B, C, H, W), 0 to 255, C is 1 (grey) or 3 (colour)
    factor  float (B,), one per image

The results are the same as those of the functions of torchvision for one image, without the rounding to whole numbers.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

BLUR = 3  # pixels on each side that a blurred pixel depends on
GREY = (0.2989, 0.587, 0.114)  # weights of red, green and blue (ITU-R 601-2)


def grey(images: Tensor) -> Tensor:
    """Return the brightness of each pixel, (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel, None] for channel in range(3))
    return red * GREY[0] + green * GREY[1] + blue * GREY[2]


def blend(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    """Return ``factor * images + (1 - factor) * others``, limited to 0 to 255."""
    factor = factor.view(-1, 1, 1, 1)
    return (factor * images + (1 - factor) * others).clamp(0, 255)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply all pixels."""
    return blend(images, torch.zeros_like(images), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the distance from the mean brightness of the image."""
    return blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the distance from the grey image. Grey images are not changed."""
    return images if images.shape[1] == 1 else blend(images, grey(images), factor)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by `turn` (B,), -0.5 to 0.5 of the colour circle. Grey images are not changed."""
    if images.shape[1] == 1:
        return images
    high, low = images.amax(1), images.amin(1)  # (B, H, W)
    spread = high - low
    safe = torch.where(spread > 0, spread, 1.0)
    red, green, blue = images.unbind(1)
    green_or_blue = torch.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sector = torch.where(high == red, (green - blue) / safe, green_or_blue)
    sector = (sector + 6 * turn.view(-1, 1, 1)) % 6  # 0 is red, 2 green, 4 blue
    # Each channel is a trapezoid over the colour circle, with its middle at 0, 2 or 4.
    channels = []
    for middle in (0, 2, 4):
        distance = ((sector - middle + 3) % 6 - 3).abs()
        channels.append(low + spread * (2 - distance).clamp(0, 1))
    return torch.stack(channels, 1)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Smooth with a normal distribution of standard deviation `sigma` (B,), above 0 pixels, cut off at 3 pixels."""
    num, channels = images.shape[:2]
    places = torch.arange(-BLUR, BLUR + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(places**2) / (2 * sigma[:, None] ** 2))  # (B, 7)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]  # (B * C, 1, 7)
    rows = pad(images, (BLUR, BLUR, 0, 0), mode="replicate").flatten(0, 1)[None]  # (1, B * C, H, W + 6)
    smooth = conv2d(rows, kernel[:, :, None], groups=num * channels).view(images.shape)
    columns = pad(smooth, (0, 0, BLUR, BLUR), mode="replicate").flatten(0, 1)[None]
    return conv2d(columns, kernel[..., None], groups=num * channels).view(images.shape)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the distance from the smoothed image. The outermost pixels are not changed."""
    if min(images.shape[2:]) < 3:
        return images
    num = images.shape[1]
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    smooth = conv2d(images, (kernel / kernel.sum()).expand(num, 1, 3, 3), groups=num)
    inside = pad(torch.ones_like(smooth), (1, 1, 1, 1)) > 0
    return blend(images, torch.where(inside, pad(smooth, (1, 1, 1, 1)), images), factor)


def posterise(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper `bits` (B,), 1 to 8, of each value."""
    step = 2 ** (8 - bits.view(-1, 1, 1, 1))
    return (images / step).floor() * step


def solarise(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert all values that are at least `threshold` (B,)."""
    return torch.where(images >= threshold.view(-1, 1, 1, 1), 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to 0 to 255. A channel with one value is not changed."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    scale = 255 / torch.where(high > low, high - low, 255.0)
    return torch.where(high > low, (images - low) * scale, images)


def equalise(images: Tensor) -> Tensor:
    """Change each channel so that all brightnesses are equally frequent. A channel with one value is not changed.

    The histogram is counted by sorting: adding to its bins would depend on the order of the threads on a GPU.
    """
    num, channels, height, width = images.shape
    values = images.round().view(num * channels, height * width)
    levels = torch.arange(256, device=images.device, dtype=values.dtype).expand(len(values), -1).contiguous()
    ranked = values.sort(1).values
    below = torch.searchsorted(ranked, levels, right=False)  # pixels below each level
    up_to = torch.searchsorted(ranked, levels, right=True)
    last = (up_to - below).gather(1, values.amax(1, keepdim=True).long())  # pixels of the brightest level
    step = (height * width - last).div(255, rounding_mode="floor")  # (B * C, 1)
    table = ((below + step.div(2, rounding_mode="floor")) / step.clamp(min=1)).floor().clamp(0, 255)
    equal = table.gather(1, values.long())
    return torch.where(step > 0, equal, values).view_as(images)

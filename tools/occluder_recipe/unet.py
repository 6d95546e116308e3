"""A small U-Net (Ronneberger et al. 2015) from an aligned face to the share of objects, or of frames of glasses."""

import torch
from torch import nn

WIDTHS = (24, 48, 96, 128)  # channels from half of the canvas's size down to a sixteenth of it
INPUTS = 5  # RGB, the face, its features


class Block(nn.Module):
    """Two convolutions with batch normalization."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the features, (N, outputs, H, W)."""
        made: torch.Tensor = self.layers(planes)
        return made


class OccluderUNet(nn.Module):
    """From the planes of an aligned face, (N, 5, H, W), to logits of its objects, (N, 1, H, W).

    It works at half the canvas's size and below, where nearly all of what tells an object from a face is visible.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Conv2d(INPUTS, widths[0], 2, stride=2)
        self.down = nn.ModuleList(
            Block(before, after) for before, after in zip((widths[0], *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            Block(after + before, before) for before, after in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.pool, self.enlarge = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.ConvTranspose2d(widths[0], 1, 2, stride=2)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        kept: list[torch.Tensor] = []
        planes = self.stem(planes)
        for block in self.down:
            planes = block(self.pool(planes) if kept else planes)
            kept.append(planes)
        for block, beside in zip(self.up, kept[-2::-1], strict=True):
            planes = block(torch.cat([self.enlarge(planes), beside], dim=1))
        logits: torch.Tensor = self.head(planes)
        return logits

"""The networks that step.py times, in PyTorch, with weights that formula.py can set."""

WIDTHS = [8, 16, 32, 64, 128, 256, 512]  # of the published polar-low network
CLASSES = 2
CHARTS = {"SIC": 12, "SOD": 7, "FLOE": 8}  # outputs of the U-Net, by pixel


def torch_network(torch, strided_skip=False, dropout=0.5, widths=WIDTHS, channels=3):
    """`strided_skip`: the published 1x1 convolution of stride 2, else one of stride 1 on a slice: the
    same arithmetic, and oneDNN corrupts the heap on the strided one (README.md)."""
    import torch.nn.functional as F
    from torch import nn

    class Separable(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.depthwise = nn.Conv2d(cin, cin, 3, padding=1, groups=cin, bias=False)
            self.pointwise = nn.Conv2d(cin, cout, 1)
            self.norm = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.01)

        def forward(self, x):
            return F.relu(self.norm(self.pointwise(self.depthwise(x))))

    class Block(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.main = nn.Sequential(Separable(cin, cout), Separable(cout, cout))
            self.skip = nn.Conv2d(cin, cout, 1, stride=2 if strided_skip else 1)

        def forward(self, x):
            # Keras' 'same': 1 before an odd size, and none before an even one.
            odd = x.shape[2] % 2, x.shape[3] % 2
            pooled = F.max_pool2d(self.main(x), 3, 2, padding=odd, ceil_mode=True)
            return pooled + self.skip(x if strided_skip else x[:, :, ::2, ::2])

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(channels, widths[0], 3, 2)
            self.norm = nn.BatchNorm2d(widths[0], eps=1e-3, momentum=0.01)
            cins = [widths[0], *widths]
            self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(cins, widths)))
            self.last = Separable(widths[-1], 2 * widths[-1])
            self.dropout = nn.Dropout(dropout)
            self.dense = nn.Linear(2 * widths[-1], CLASSES)

        def forward(self, x):
            before = x.shape[3] % 2, x.shape[2] % 2
            x = F.pad(x, (before[0], 1, before[1], 1))
            x = F.relu(self.norm(self.stem(x)))
            return self.dense(self.dropout(self.last(self.blocks(x)).mean((2, 3))))

    return Net()


def torch_resnet(torch):
    """ResNet-50 with torchvision's names for its modules, its stride on the 3x3 convolutions."""
    import torch.nn.functional as F
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, cin, width, stride):
            super().__init__()
            cout = 4 * width
            self.conv1 = nn.Conv2d(cin, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, cout, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(cout)
            self.downsample = None
            if stride > 1 or cin != cout:
                self.downsample = nn.Sequential(
                    nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout)
                )

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)), inplace=True)
            y = F.relu(self.bn2(self.conv2(y)), inplace=True)
            y = self.bn3(self.conv3(y))
            return F.relu(y + (self.downsample(x) if self.downsample else x), inplace=True)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            cin = 64
            for i, (blocks, width) in enumerate(zip([3, 4, 6, 3], [64, 128, 256, 512])):
                strides = [2 if i > 0 else 1] + [1] * (blocks - 1)
                cins = [cin] + [4 * width] * (blocks - 1)
                stage = [Bottleneck(c, width, stride) for c, stride in zip(cins, strides)]
                setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
                cin = 4 * width
            self.fc = nn.Linear(cin, CLASSES)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)), inplace=True)
            x = F.max_pool2d(x, 3, 2, 1)
            for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
                x = stage(x)
            return self.fc(x.mean((2, 3)))

    return Net()


def torch_unet(torch, widths, channels):
    """A U-Net with model/unet.cpp's names for its layers; of sides that halve without a rest."""
    import torch.nn.functional as F
    from torch import nn

    class TwoConvs(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.conv1 = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(cout)
            self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(cout)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)), inplace=True)
            return F.relu(self.bn2(self.conv2(x)), inplace=True)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            cins = [channels, *widths]
            for i, width in enumerate(widths):
                setattr(self, f"down{i + 1}", TwoConvs(cins[i], width))
            self.bridge = TwoConvs(widths[-1], widths[-1])
            above = [*widths[1:], widths[-1]]
            for i, width in enumerate(widths):
                setattr(self, f"up{i + 1}", TwoConvs(above[i] + width, width))
            for name, classes in CHARTS.items():
                setattr(self, name, nn.Conv2d(widths[0], classes, 1))

        def forward(self, x):
            levels = []
            for i in range(len(widths)):
                x = getattr(self, f"down{i + 1}")(F.max_pool2d(x, 2) if i else x)
                levels.append(x)
            x = self.bridge(F.max_pool2d(x, 2))
            for i in reversed(range(len(widths))):
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                x = getattr(self, f"up{i + 1}")(torch.cat([x, levels[i]], 1))
            return [getattr(self, name)(x) for name in CHARTS]

    return Net()

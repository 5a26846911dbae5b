"""The small networks for Fashion-MNIST, 28 x 28 pixels, that train.py trains."""


def build_vgg(nn, F):
    """Six 3x3 convolutions in three blocks, two fully connected layers."""

    class Vgg(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = []
            width = 1
            for block, channels in enumerate((32, 64, 128), 1):
                for index in (1, 2):
                    conv = "conv%d_%d" % (block, index)
                    norm = "bn%d_%d" % (block, index)
                    self.add_module(conv, nn.Conv2d(width, channels, 3,
                                                    padding=1, bias=False))
                    self.add_module(norm, nn.BatchNorm2d(channels))
                    self.layers.append((conv, norm, index == 2))
                    width = channels
            # 28 -> 14 -> 7 -> 3 pixels after the three poolings.
            self.fc1 = nn.Linear(128 * 3 * 3, 128)
            self.drop = nn.Dropout(0.5)
            self.fc2 = nn.Linear(128, 10)

        def forward(self, x):
            for conv, norm, pool in self.layers:
                x = F.relu(getattr(self, norm)(getattr(self, conv)(x)))
                if pool:
                    x = F.max_pool2d(x, 2)
            x = x.flatten(1)
            return self.fc2(self.drop(F.relu(self.fc1(x))))

        def fold(self):
            """Move each batch norm into its convolution.

            The exporter would do the same, but drops the parameter names.
            """
            for conv, norm, _ in self.layers:
                setattr(self, conv, nn.utils.fusion.fuse_conv_bn_eval(
                    getattr(self, conv), getattr(self, norm)))
                setattr(self, norm, nn.Identity())

    return Vgg()


def build_resnet(nn, F):
    """ResNet-20: three stages of three basic blocks, projection shortcuts."""

    class Block(nn.Module):
        def __init__(self, width, channels, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(width, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.shortcut = None
            if stride != 1 or width != channels:
                self.shortcut = nn.Sequential()
                self.shortcut.add_module("conv", nn.Conv2d(
                    width, channels, 1, stride, bias=False))
                self.shortcut.add_module("bn", nn.BatchNorm2d(channels))

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return F.relu(y + (self.shortcut(x) if self.shortcut else x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            width = 16
            for stage, channels in enumerate((16, 32, 64), 1):
                blocks = nn.Sequential()
                for index in range(3):
                    stride = 2 if stage > 1 and index == 0 else 1
                    blocks.add_module(str(index),
                                      Block(width, channels, stride))
                    width = channels
                self.add_module("stage%d" % stage, blocks)
            self.fc = nn.Linear(64, 10)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)))
            x = self.stage3(self.stage2(self.stage1(x)))
            x = F.adaptive_avg_pool2d(x, 1)
            return self.fc(x.flatten(1))

    return ResNet()


def build_mobile(nn, F):
    """Inverted bottlenecks: depthwise layers, squeeze and excitation, residuals."""

    class Gate(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.down = nn.Conv2d(channels, channels // 4, 1)
            self.up = nn.Conv2d(channels // 4, channels, 1)

        def forward(self, x):
            gate = F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))
            return x * F.hardsigmoid(self.up(gate))

    class Bottleneck(nn.Module):
        def __init__(self, width, channels, stride):
            super().__init__()
            hidden = 4 * width
            self.expand = nn.Conv2d(width, hidden, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(hidden)
            self.each = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden,
                                  bias=False)
            self.bn2 = nn.BatchNorm2d(hidden)
            self.gate = Gate(hidden)
            self.project = nn.Conv2d(hidden, channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(channels)
            self.residual = stride == 1 and width == channels

        def forward(self, x):
            y = F.hardswish(self.bn1(self.expand(x)))
            y = self.gate(F.hardswish(self.bn2(self.each(y))))
            y = self.bn3(self.project(y))
            return x + y if self.residual else y

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16),
        nn.Hardswish(), Bottleneck(16, 16, 1), Bottleneck(16, 24, 2),
        Bottleneck(24, 24, 1), Bottleneck(24, 24, 1), Bottleneck(24, 40, 2),
        Bottleneck(40, 40, 1), Bottleneck(40, 40, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10))


def build_dense(nn, F):
    """Three dense blocks: every layer reads all before it, concatenated."""
    import torch

    class Layer(nn.Module):
        def __init__(self, width, growth):
            super().__init__()
            self.bn1 = nn.BatchNorm2d(width)
            self.conv1 = nn.Conv2d(width, 4 * growth, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(4 * growth)
            self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

        def forward(self, x):
            y = self.conv1(F.relu(self.bn1(x)))
            return torch.cat([x, self.conv2(F.relu(self.bn2(y)))], 1)

    growth, width = 12, 24
    layers = [nn.Conv2d(1, width, 3, 2, 1, bias=False)]
    for block in range(3):
        for _ in range(4):
            layers.append(Layer(width, growth))
            width += growth
        if block < 2:
            layers += [nn.BatchNorm2d(width), nn.ReLU(),
                       nn.Conv2d(width, width // 2, 1, bias=False),
                       nn.AvgPool2d(2)]
            width //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, 10))


def build_resnext(nn, F):
    """Three stages of two bottlenecks with convolutions in groups."""

    class Bottleneck(nn.Module):
        def __init__(self, width, channels, stride):
            super().__init__()
            hidden = channels // 2
            self.conv1 = nn.Conv2d(width, hidden, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(hidden)
            self.conv2 = nn.Conv2d(hidden, hidden, 3, stride, 1,
                                   groups=hidden // 4, bias=False)
            self.bn2 = nn.BatchNorm2d(hidden)
            self.conv3 = nn.Conv2d(hidden, channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(channels)
            self.shortcut = None
            if stride != 1 or width != channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(width, channels, 1, stride, bias=False),
                    nn.BatchNorm2d(channels))

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
            return F.relu(y + (self.shortcut(x) if self.shortcut else x))

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        Bottleneck(32, 64, 2), Bottleneck(64, 64, 1), Bottleneck(64, 128, 2),
        Bottleneck(128, 128, 1), Bottleneck(128, 128, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def build_vit(nn, F):
    """Four transformer blocks on patches of 4 x 4 pixels."""
    import torch

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.norm1 = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width)
            self.proj = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width)
            self.fc1 = nn.Linear(width, 4 * width)
            self.fc2 = nn.Linear(4 * width, width)

        def attend(self, x):
            tokens, width = 49, x.shape[2]
            parts = self.qkv(x).reshape(-1, tokens, 3, self.heads,
                                        width // self.heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
            scores = q @ k.transpose(2, 3) * (width // self.heads) ** -0.5
            y = (scores.softmax(3) @ v).transpose(1, 2)
            return self.proj(y.reshape(-1, tokens, width))

        def forward(self, x):
            x = x + self.attend(self.norm1(x))
            return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    class Vit(nn.Module):
        initialised = True  # PyTorch's own start

        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, 64, 4, 4)
            self.place = nn.Parameter(0.02 * torch.randn(1, 49, 64))
            self.blocks = nn.Sequential(*[Block(64, 4) for _ in range(4)])
            self.norm = nn.LayerNorm(64)
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.place
            return self.head(self.norm(self.blocks(x)).mean(1))

    return Vit()

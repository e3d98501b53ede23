"""Small files of weights as PyTorch writes them, and what is in them: a narrow ResNet-18 by the
formula of common.py in each kind of file, and tensors of all types and layouts. Single-threaded, so
that a rerun gives the same numbers (zip archives hold an id that torch draws from the contents)."""

import collections

import numpy as np
import torch
from torch import nn

from common import OUT, signed, u, write
from resnet_net import Resnet, set_formula

torch.set_num_threads(1)
FOLDER = OUT / "torch"
VERSIONS = {"torch": torch.__version__}


def hugging_face(key):
    """Their name of one of torchvision's keys."""
    parts = key.split(".")
    kinds = {"conv": "convolution", "bn": "normalization"}
    if parts[0] in ("conv1", "bn1"):
        return f"resnet.embedder.embedder.{kinds[parts[0][:-1]]}.{parts[1]}"
    if parts[0] == "fc":
        return f"classifier.1.{parts[1]}"
    place = f"resnet.encoder.stages.{int(parts[0][-1]) - 1}.layers.{parts[1]}"
    if parts[2] == "downsample":
        return f"{place}.shortcut.{['convolution', 'normalization'][int(parts[3])]}.{parts[4]}"
    return f"{place}.layer.{int(parts[2][-1]) - 1}.{kinds[parts[2][:-1]]}.{parts[3]}"


def kinds():
    base = torch.tensor(signed("base", 40), dtype=torch.float32)
    weight = torch.tensor(signed("weight", 4, 3, 2, 5), dtype=torch.float32)
    numbers = torch.tensor(100 * signed("numbers", 6))
    tensors = {
        "shared_front": base[2:8],
        "shared_transposed": base.view(5, 8).t(),
        "shared_every_third": base[1::3],
        "channels_last": weight.to(memory_format=torch.channels_last),
        "bf16": numbers.bfloat16(),
        "f16": torch.cat([numbers.half(), torch.tensor([6e-8, 6e-5]).half()]),
        "f64": numbers,
        "i64": numbers.long(),
        "i32": numbers.int(),
        "i16": numbers.short(),
        "i8": numbers.char(),
        "u8": numbers.abs().byte(),
        "bool": numbers > 0,
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(base[:4].clone()),
    }
    torch.save(tensors, FOLDER / "kinds.pt")
    torch.save(tensors, FOLDER / "kinds_legacy.pt", _use_new_zipfile_serialization=False)
    return {name: t.detach().contiguous().double().numpy() for name, t in tensors.items()}


def main():
    FOLDER.mkdir(exist_ok=True)
    net = set_formula(Resnet("resnet18", "tiny", 3, 3)).eval()
    state = net.state_dict()
    torch.save(state, FOLDER / "resnet18.pth")
    wrapped = collections.OrderedDict(("module.encoder_q." + k, v) for k, v in state.items())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    checkpoint = {"epoch": 3, "arch": "resnet18", "state_dict": wrapped,
                  "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, FOLDER / "checkpoint_legacy.pth.tar",
               _use_new_zipfile_serialization=False)
    backbone = {k: v.to(memory_format=torch.channels_last) if v.ndim == 4 else v
                for k, v in state.items() if not k.startswith("fc.")}
    torch.save(backbone, FOLDER / "backbone.pt")
    theirs = {hugging_face(k): v.numpy() for k, v in state.items()}
    write("torch/hugging_face.safetensors", theirs, __file__, VERSIONS)
    x = torch.tensor(u("input/files", 2, 40, 33, 3), dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = net.double()(x.double()).numpy()
    out = {f"kinds/{name}": value for name, value in kinds().items()} | {"logits": logits}
    write("torch/contents.safetensors", out, __file__, VERSIONS)


main()

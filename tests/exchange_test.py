#!/usr/bin/env python3
"""What Fulmar writes for other programs, read by these: exchange_test.py PROGRAM TESTS

PyTorch loads exported weights strictly and finds its own numbers in them; ONNX Runtime runs
exported networks to within 1e-5. Exits with 77 (skipped), saying so, where this Python has neither.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
    from safetensors.numpy import load_file
except ImportError as missing:
    print(f"skipped: this Python ({sys.executable}) has no {missing.name}")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).parent / "goldens" / "make"))
from resnet_net import Resnet  # noqa: E402

# Relative to the largest of an output's numbers.
BOUND = 1e-5


def run(*command, **how):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, **how)


def check_weights(program, folder, kind, widths, options):
    """PyTorch's weights through Fulmar and back."""
    torch.manual_seed(1)
    net = Resnet(kind, widths, 1, 5).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 1.5)
    source, model = folder / f"{kind}.pth", folder / f"{kind}.model.safetensors"
    torch.save(net.state_dict(), source)
    run(program, "import", source, "--network", kind, *options, "--out", model)
    run(program, "export", model, "--out", folder / "state.safetensors")
    run(program, "export", model, "--out", folder / "state.npz")
    state = {k: torch.from_numpy(v) for k, v in load_file(folder / "state.safetensors").items()}
    other = Resnet(kind, widths, 1, 5).eval()
    other.load_state_dict(state, strict=True)
    arrays = np.load(folder / "state.npz")
    assert set(arrays.files) == set(net.state_dict())
    for key, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
        assert np.array_equal(arrays[key], value.numpy()), key
    # The network too.
    run(program, "export", model, "--out", folder / "net.onnx", "--crop", 64)
    x = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        expected = net(x).numpy()
    session = onnxruntime.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": x.numpy()})[0]
    far = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"{kind} {widths}: {len(state)} tensors back, PyTorch's logits within {far:.1e}")
    assert far <= BOUND, far


def check_network(path):
    """An ONNX file beside the values that Fulmar computed."""
    values = load_file(path.with_suffix(".safetensors"))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = values.pop("x").transpose(0, 3, 1, 2).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    assert sorted(names) == sorted(key[2:] for key in values), names
    worst = 0
    for name, found in zip(names, session.run(names, {"input": x})):
        expected = values["y/" + name].transpose(0, 3, 1, 2)
        if found.ndim == 2:
            expected = expected[:, :, 0, 0]
        assert found.shape == expected.shape, (name, found.shape, expected.shape)
        far = np.abs(found - expected).max() / max(1, np.abs(expected).max())
        if far > BOUND:
            print(f"{path.name}: {name} is off by {far:.1e}")
        worst = max(worst, far)
    print(f"{path.name}: {len(names)} outputs within {worst:.1e}")
    return worst <= BOUND


def main():
    program, tests = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check_weights(program, folder, "resnet18", "narrow", ["--widths", "4,6,8,12"])
        check_weights(program, folder, "resnet50", "published", [])
        run(tests, "-tc=networks of every layer are written to ONNX",
            env={**os.environ, "FULMAR_ONNX_FOLDER": name})
        written = [path for path in sorted(folder.glob("*.onnx")) if path.stem != "net"]
        assert len(written) >= 7, written
        sys.exit(0 if all([check_network(path) for path in written]) else 1)


main()

"""A prediction of one picture from a process' start, in another framework.

    cold.py prepare --framework F FOLDER    writes the network, weights by a formula, as F reads it
    cold.py predict --framework F FOLDER PICTURE.png    prints a line of JSON: the logits

Each reads the file that it starts fastest from: PyTorch a state dict, TensorFlow a frozen graph,
ONNX Runtime an ONNX file, OpenVINO its own file with a cache of the compiled network. `predict`
imports no more than it needs; compare.py times it.
"""

import argparse
import json
import os
import sys

import step as peers


def picture(path):
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[None]


def torch_prepare(args, folder):
    import torch

    torch.save(peers.torch_built(torch, args).state_dict(), os.path.join(folder, "polar_low.pt"))


def torch_predict(args, folder, path):
    import torch

    torch.set_num_threads(args.threads)
    net = peers.torch_network(torch).eval()
    net.load_state_dict(torch.load(os.path.join(folder, "polar_low.pt"), mmap=True))
    net = net.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        x = peers.torch_preprocess(torch, args)(torch.from_numpy(picture(path).copy()))
        return net(x)[0].tolist()


def tensorflow_prepare(args, folder):
    import tensorflow as tf

    import formula

    net = peers.tensorflow_network(tf, args)
    formula.set_keras(net)
    at, crop = (args.size - args.crop) // 2, args.crop

    def infer(x):
        part = x[:, at : at + crop, at : at + crop]
        return net(tf.cast(part, tf.float32) / 255, training=False)

    frozen = peers.tensorflow_frozen(tf, infer, tf.zeros((1, args.size, args.size, 3), tf.uint8))
    tf.io.write_graph(frozen.graph, folder, "polar_low.pb", as_text=False)
    names = [frozen.inputs[0].name, frozen.outputs[0].name]
    with open(os.path.join(folder, "polar_low.json"), "w") as file:
        json.dump(names, file)


def tensorflow_predict(args, folder, path):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    graph = tf.compat.v1.GraphDef()
    with open(os.path.join(folder, "polar_low.pb"), "rb") as file:
        graph.ParseFromString(file.read())
    with open(os.path.join(folder, "polar_low.json")) as file:
        names = json.load(file)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    infer = wrapped.prune(*[wrapped.graph.as_graph_element(name) for name in names])
    x = tf.io.decode_png(tf.io.read_file(path), channels=3)
    return infer(x[None])[0].numpy().tolist()


def onnxruntime_prepare(args, folder):
    import torch

    peers.onnx_file(torch, args, os.path.join(folder, "polar_low.onnx"))


def onnxruntime_predict(args, folder, path):
    session = peers.onnx_session(os.path.join(folder, "polar_low.onnx"), args.threads)
    return session.run(None, {session.get_inputs()[0].name: picture(path)})[0][0].tolist()


def openvino_prepare(args, folder):
    import openvino
    import torch

    model, _ = peers.openvino_model(torch, openvino, args)
    openvino.save_model(model, os.path.join(folder, "polar_low.xml"), compress_to_fp16=False)


def openvino_predict(args, folder, path):
    import openvino

    file, cache = os.path.join(folder, "polar_low.xml"), os.path.join(folder, "cache")
    net = peers.openvino_compiled(openvino, file, args.threads, "f32", CACHE_DIR=cache)
    return net([picture(path)])[0][0].tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["prepare", "predict"])
    parser.add_argument("folder")
    parser.add_argument("picture", nargs="?")
    parser.add_argument("--framework", choices=peers.MODES, required=True)
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--crop", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.set_defaults(network="polar-low")
    args = parser.parse_args()
    args.what, args.check, args.augment, args.batch = "inference", True, False, 1
    args.channels, args.widths = 3, peers.WIDTHS
    do = globals()[f"{args.framework}_{args.action}"]
    if args.action == "prepare":
        do(args, args.folder)
    elif args.picture is None:
        parser.error("predict takes a picture")
    else:
        print(json.dumps({"logits": do(args, args.folder, args.picture)}), flush=True)
        # What is left to tear down is no part of a prediction.
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()

"""Keras' own preprocessing layers in float32 with forced random parameters, the whole chain, and
the two resizes of Keras' image loading.

Parameters are what the layer draws: translation as fractions of height and width, rotation in
radians, zoom as the factor by which source coordinates are scaled (1.15 zooms out)."""

import tempfile
from pathlib import Path

import numpy as np
from keras_quiet import VERSIONS, tf
from PIL import Image
from tensorflow import keras
from tensorflow.keras import layers

from common import signed, u, write

FILL = dict(fill_mode="constant", fill_value=0.0, interpolation="bilinear")
SIZES = [(32, 32), (21, 34)]
CHAIN_SIZE, CHAIN_CROP, CHAINS, DRAWS = 48, 42, 6, 1000
tensors, cases = {}, {}


def noise(height, width):
    """Independent bytes floor(256 u)."""
    raw = np.floor(256 * u(f"picture/{height}x{width}", height, width, 3)).astype(np.uint8)
    tensors[f"picture/{height}x{width}"] = raw
    return raw


def ramps(size):
    """Bilinear sampling of ramps is exact, however often: red over x, green over y; blue is 200."""
    ramp = 40 + 160 * np.arange(size, dtype=np.float32) / (size - 1)
    red, green = np.meshgrid(ramp, ramp)
    return np.stack([red, green, np.full_like(red, 200)], -1)


def force(layer, *values):
    queue = [np.float32(v) for v in values]
    layer._random_generator.random_uniform = lambda shape, **_: tf.constant(
        queue.pop(0), tf.float32, shape=[1] * len(shape)
    )
    return layer


def flip_seeds():
    """Seeds of the stateless flip that do and don't flip, found by trying."""
    probe = tf.constant([[[0.0], [1.0]]])
    found = {}
    for s in range(100):
        flipped = tf.image.stateless_random_flip_left_right(probe[None], seed=[s, s])
        found.setdefault(bool(flipped[0, 0, 0, 0] == 1.0), [s, s])
    return found


def flip(horizontal, vertical):
    layer, seeds = layers.RandomFlip("horizontal_and_vertical"), flip_seeds()
    queue = [seeds[horizontal], seeds[vertical]]
    layer._random_generator.make_seed_for_stateless_op = lambda: queue.pop(0)
    return layer


def translation(height, width):
    return force(layers.RandomTranslation(0.1, 0.1, **FILL), height, width)


def rotation(angle):
    return force(layers.RandomRotation(0.4, **FILL), angle)


def zoom(factor):
    return force(layers.RandomZoom(0.15, **FILL), factor)


def run(layer, picture):
    return layer(tf.constant(picture[None], tf.float32), training=True).numpy()[0]


def single_layers():
    def row(name, op, layer, size, **parameters):
        height, width = size
        name = f"{name}_{height}x{width}"
        tensors[f"{name}/y"] = run(layer, pictures[size])
        cases[name] = {"op": op, "picture": f"picture/{height}x{width}", **parameters}

    pictures = {size: noise(*size) for size in SIZES}
    for size in SIZES:
        for i, (h, w) in enumerate([(0.1, -0.1), (-0.0371, 0.0822), (0.0625, 0.0)]):
            row(f"translation{i}", "translation", translation(h, w), size, height=h, width=w)
        for horizontal in (False, True):
            for vertical in (False, True):
                if horizontal or vertical:
                    name = "flip" + "_h" * horizontal + "_v" * vertical
                    layer = flip(horizontal, vertical)
                    row(name, "flip", layer, size, horizontal=horizontal, vertical=vertical)
        for i, angle in enumerate([0.1, -0.7, 2.5, -1.5]):
            row(f"rotation{i}", "rotation", rotation(angle), size, angle=angle)
        for i, factor in enumerate([0.85, 1.15, 1.037]):
            row(f"zoom{i}", "zoom", zoom(factor), size, factor=factor)
        for crop in (16, 15):
            row(f"crop{crop}", "center_crop", layers.CenterCrop(crop, crop), size, crop=crop)
        row("rescaling", "rescaling", layers.Rescaling(1.0 / 255), size, scale="1/255")


def chains():
    """All layers in the published order on the ramps, with given parameters."""
    for i in range(CHAINS):
        name = f"chain{i}"
        draw = signed(f"{name}/parameters", 4)
        p = {
            "translate_height": 0.1 * draw[0],
            "translate_width": 0.1 * draw[1],
            "flip_horizontal": bool(i & 1),
            "flip_vertical": bool(i & 2),
            "angle": 0.4 * 2 * np.pi * draw[2],
            "zoom": 1 + 0.15 * draw[3],
        }
        x = ramps(CHAIN_SIZE)
        for layer in (
            translation(p["translate_height"], p["translate_width"]),
            flip(p["flip_horizontal"], p["flip_vertical"]),
            rotation(p["angle"]),
            zoom(p["zoom"]),
            layers.CenterCrop(CHAIN_CROP, CHAIN_CROP),
            layers.Rescaling(1.0 / 255),
        ):
            x = run(layer, x)
        tensors[f"{name}/y"] = x
        cases[name] = {
            "op": "chain",
            "picture": "ramps",
            "size": CHAIN_SIZE,
            "crop": CHAIN_CROP,
            **p,
        }


def statistics():
    """The chain with Keras' own draws: means over the draws, and their standard errors."""
    keras.utils.set_random_seed(1)
    chain = keras.Sequential(
        [
            layers.RandomTranslation(0.1, 0.1, **FILL, seed=1),
            layers.RandomFlip("horizontal_and_vertical", seed=2),
            layers.RandomRotation(0.4, **FILL, seed=3),
            layers.RandomZoom(0.15, **FILL, seed=4),
            layers.CenterCrop(CHAIN_CROP, CHAIN_CROP),
            layers.Rescaling(1.0 / 255),
        ]
    )
    out = {}
    for kind, picture in (("ramps", ramps(CHAIN_SIZE)), ("noise", noise(CHAIN_SIZE, CHAIN_SIZE))):
        x = np.repeat(picture[None].astype(np.float32), 50, 0)
        y = np.concatenate([chain(x, training=True).numpy() for _ in range(DRAWS // 50)])
        rows = {
            "channel_mean": y.mean((1, 2)),
            "channel_deviation": y.std((1, 2)),
            "black_fraction": (y == 0).all(-1).mean((1, 2))[:, None],
        }
        out[kind] = {
            name: {
                "mean": row.mean(0).tolist(),
                "standard_error": (row.std(0) / np.sqrt(DRAWS)).tolist(),
            }
            for name, row in rows.items()
        }
    return {"size": CHAIN_SIZE, "crop": CHAIN_CROP, "draws": DRAWS, **out}


def resizes():
    """load_img: Pillow's nearest. image_dataset_from_directory: bilinear, no antialias."""
    for i, (source, target) in enumerate(
        [((21, 34), (32, 32)), ((32, 32), (17, 23)), ((7, 5), (16, 9)), ((33, 50), (20, 20))]
    ):
        picture = noise(*source)
        with tempfile.TemporaryDirectory() as root:
            path = Path(root) / "class" / "picture.png"
            path.parent.mkdir()
            Image.fromarray(picture).save(path)
            nearest = np.array(keras.utils.load_img(path, target_size=target))
            dataset = keras.utils.image_dataset_from_directory(
                root, labels=None, batch_size=1, image_size=target, shuffle=False
            )
            bilinear = next(iter(dataset)).numpy()[0]
        for op, y in (("load_img_nearest", nearest), ("dataset_bilinear", bilinear)):
            name = f"{op}{i}"
            tensors[f"{name}/y"] = y
            cases[name] = {
                "op": op,
                "picture": f"picture/{source[0]}x{source[1]}",
                "size": list(target),
            }


single_layers()
chains()
resizes()
write(
    "augmentation_keras.safetensors",
    tensors,
    __file__,
    VERSIONS,
    cases=cases,
    chain_statistics=statistics(),
)

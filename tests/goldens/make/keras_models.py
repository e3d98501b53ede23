"""Keras' own model files with its predictions, in ../keras/. By Keras 2.15 HDF5 files that hold
every layer that is imported, by Keras 3 (its environment: requirements-keras3.txt) .keras archives:

    K/bin/python keras_models.py      writes *_2_15.* and predictions_2_15.safetensors
    K3/bin/python keras_models.py     writes *_3.* and predictions_3.safetensors

A file's pictures (uint8) are FILE/x, what Keras gives for them as floats 0...255 is FILE/y. Where
the last layer is an activation of classes, FILE/logits is what it is applied to."""

import importlib.metadata
import os
import sys
from pathlib import Path

import numpy as np

KERAS = importlib.metadata.version("keras")
if KERAS.startswith("3"):
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    VERSIONS = {name: importlib.metadata.version(name) for name in ("keras", "jax", "h5py")}
    SUFFIX = "_3"
else:
    from keras_quiet import VERSIONS, tf
    from tensorflow import keras

    VERSIONS = {**VERSIONS, "h5py": importlib.metadata.version("h5py")}
    SUFFIX = "_2_15"

from common import write  # noqa: E402

L = keras.layers
FOLDER = Path(__file__).resolve().parent.parent / "keras"
tensors = {}
random = np.random.default_rng(11)


def fill(model):
    """Weights that no initialiser would give, so that none can be mistaken for another's."""
    values = []
    for variable in model.weights:
        name = getattr(variable, "path", variable.name)
        shape = tuple(variable.shape)
        x = random.uniform(-0.5, 0.5, shape)
        if "variance" in name:
            x = random.uniform(0.4, 2, shape)
        if "seed" in name or "count" in name:
            x = keras.ops.convert_to_numpy(variable) if SUFFIX == "_3" else variable.numpy()
        values.append(x)
    model.set_weights(values)


def pictures(count, size, channels):
    return random.integers(0, 256, (count, size, size, channels), np.uint8)


def keep(model, name, ending, logits=None, count=2, weights_only=False):
    fill_needed = not getattr(model, "filled", False)
    if fill_needed:
        fill(model)
    file = f"{name}{SUFFIX}.{ending}"
    if weights_only:
        model.save_weights(FOLDER / file)
    else:
        model.save(FOLDER / file)
    _, size, _, channels = model.inputs[0].shape
    x = pictures(count, size, channels)
    tensors[f"{file}/x"] = x
    tensors[f"{file}/y"] = np.asarray(model.predict(x.astype(np.float32), verbose=0))
    if logits is not None:
        before = keras.Model(model.inputs, logits)
        tensors[f"{file}/logits"] = np.asarray(before.predict(x.astype(np.float32), verbose=0))
    print(file, (FOLDER / file).stat().st_size)


def signed(x):
    """Pictures as -1...1, so that activations see both signs."""
    return L.Rescaling(1 / 127.5, -1)(x)


def side_by_side(name, layers, ending, size=9, channels=3):
    """All layers on one input; their results one behind the other."""
    inputs = keras.Input((size, size, channels))
    x, flatten = signed(inputs), L.Flatten()
    keep(keras.Model(inputs, L.Concatenate()([flatten(make(x)) for make in layers])), name, ending, count=1)


def windows():
    return [
        L.Conv2D(4, 3),
        L.Conv2D(4, (2, 3), padding="same", strides=(1, 2), activation="relu"),
        L.Conv2D(3, 3, padding="same", strides=2, use_bias=False),
        L.Conv2D(6, 3, padding="same", dilation_rate=2, groups=3, activation="tanh"),
        L.DepthwiseConv2D(3, padding="same"),
        L.DepthwiseConv2D((3, 2), strides=2, depth_multiplier=2, activation="elu"),
        L.DepthwiseConv2D(3, dilation_rate=2, use_bias=False),
        L.SeparableConv2D(5, 3, padding="same"),
        L.SeparableConv2D(4, 3, strides=2, padding="same", activation="sigmoid"),
        L.SeparableConv2D(4, (3, 2), depth_multiplier=2),
        L.Dense(4, activation="softplus"),
        L.Dense(2, use_bias=False),
    ]


def transposed():
    return [
        L.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"),
        L.Conv2DTranspose(3, 3, strides=2),
        L.Conv2DTranspose(2, 2, strides=3, use_bias=False),
        L.Conv2DTranspose(3, (3, 2), strides=(1, 2), padding="same"),
        L.Conv2DTranspose(2, 4, strides=2, padding="same"),
        L.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1),
        L.Conv2DTranspose(2, 3, strides=3, output_padding=(2, 1)),
    ]


def pools():
    layers = []
    for pool in (L.MaxPooling2D, L.AveragePooling2D):
        layers += [pool(), pool(3, 2, "same"), pool((2, 3), (1, 2)), pool(4, 3, "same")]
    for pool in (L.GlobalAveragePooling2D, L.GlobalMaxPooling2D):
        layers += [pool(), pool(keepdims=True)]
    return layers


def activations():
    names = ["relu", "sigmoid", "tanh", "softmax", "elu", "selu", "softplus", "swish", "gelu"]
    names += ["exponential", "hard_sigmoid", "linear"]
    layers = [L.Activation(name) for name in names]
    layers += [L.ReLU(), L.ReLU(0.5), L.ReLU(6.0), L.ReLU(negative_slope=0.2)]
    layers += [L.LeakyReLU(), L.LeakyReLU(alpha=0.05), L.ELU(), L.ELU(0.3), L.Softmax()]
    layers += [L.PReLU(), L.PReLU(shared_axes=[1, 2])]
    layers += [L.Dense(2, activation=L.LeakyReLU()), L.Activation("leaky_relu")]
    return layers


def extents():
    return [
        L.ZeroPadding2D(2),
        L.ZeroPadding2D(((1, 0), (2, 3))),
        L.Cropping2D(1),
        L.Cropping2D(((1, 0), (2, 3))),
        L.UpSampling2D(),
        L.UpSampling2D((3, 2), interpolation="bilinear"),
        L.Resizing(5, 13),
        L.Resizing(14, 4, interpolation="nearest"),
        L.CenterCrop(4, 5),
        L.Flatten(),
        L.Reshape((3, -1, 9)),
        L.Reshape((-1,)),
        L.Reshape((27, 9)),
    ]


def numbers():
    measured = L.Normalization()
    measured.adapt(random.uniform(-1, 1, (50, 4, 4, 3)).astype(np.float32))
    return [
        L.BatchNormalization(),
        L.BatchNormalization(epsilon=0.01, momentum=0.9),
        L.BatchNormalization(scale=False),
        L.BatchNormalization(center=False),
        measured,
        L.Normalization(mean=[0.1, 0.2, -0.3], variance=[0.5, 0.25, 2.0]),
        L.Normalization(axis=None, mean=0.25, variance=0.3),
        L.Rescaling([1.5, -2.0, 0.5], [0.1, 0.2, 0.3]),
        L.Rescaling(2.0, 0.5),
        L.Dropout(0.3),
        L.SpatialDropout2D(0.2),
        L.GaussianNoise(0.1),
    ]


def merges():
    """Graphs: values used twice, layers and models called twice, models in models."""
    inputs = keras.Input((8, 8, 3), name="picture")
    x = signed(inputs)
    shared = L.Conv2D(3, 3, padding="same", activation="relu", name="shared")
    a, b = shared(x), shared(shared(x))
    weights = L.Dense(3, activation="sigmoid")(L.GlobalAveragePooling2D()(b))
    scaled = L.Multiply()([a, L.Reshape((1, 1, 3))(weights)])
    inner = keras.Sequential(
        [L.Conv2D(4, 3, strides=2, padding="same"), L.BatchNormalization(), L.ReLU()], name="inner"
    )
    own = keras.Input((8, 8, 3))
    y = inner(own)
    outer = keras.Model(own, L.Add()([y, L.Conv2D(4, 1, strides=2)(own)]), name="outer")
    outer.layers[1].layers[1].trainable = False
    p, q = outer(L.Add()([a, b, scaled])), outer(b)
    y = L.Concatenate()([p, q, L.MaxPooling2D()(x)])
    y = L.Dense(5)(L.Flatten()(y))
    return keras.Model(inputs, y)


def augmented(crop):
    layers = [
        L.RandomTranslation(0.1, 0.1, fill_mode="constant"),
        L.RandomFlip(),
        L.RandomRotation(0.4),
        L.RandomZoom((-0.15, 0.15)),
        L.RandomContrast(0.1),
        L.RandomBrightness(0.1),
        L.CenterCrop(crop, crop),
        L.Rescaling(1 / 255),
    ]
    return layers


def classifier():
    """A Sequential model whose crop and scaling go into the record of the pictures."""
    net = keras.Sequential(
        [keras.Input((14, 14, 1))]
        + augmented(9)
        + [L.Conv2D(4, 3, activation="relu"), L.GlobalMaxPooling2D(), L.Dense(3), L.Softmax()]
    )
    return net, net.layers[-2].output


def ending_in(activation, units, pixels=False):
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(3, 3, padding="same", activation="relu")(L.Rescaling(1 / 255)(inputs))
    if not pixels:
        x = L.GlobalAveragePooling2D()(x)
    logits = (L.Conv2D(units, 1) if pixels else L.Dense(units))(x)
    return keras.Model(inputs, L.Activation(activation, name="said")(logits)), logits


def polar_low(size, crop, widths):
    """The published script's model, narrower: its names, its layers, its augmentation."""
    pre = L.experimental.preprocessing
    augment = keras.Sequential(
        [
            pre.RandomTranslation(0.1, 0.1, fill_mode="constant", fill_value=0.0),
            pre.RandomFlip("horizontal_and_vertical"),
            pre.RandomRotation(0.4, fill_mode="constant", fill_value=0.0),
            pre.RandomZoom((-0.15, 0.15), fill_mode="constant", fill_value=0.0),
            pre.CenterCrop(crop, crop),
            pre.Rescaling(1.0 / 255),
        ],
        name="Augment_and_Crop_and_Rescale",
    )
    inputs = keras.Input((size, size, 3))
    x = L.Conv2D(widths[0], 3, strides=2, padding="same")(augment(inputs))
    previous = x = L.Activation("relu")(L.BatchNormalization()(x))
    for width in widths:
        for _ in range(2):
            x = L.SeparableConv2D(width, 3, padding="same")(x)
            x = L.Activation("relu")(L.BatchNormalization()(x))
        x = L.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = L.Conv2D(width, 1, strides=2, padding="same")(previous)
        previous = x = L.Add()([x, residual])
    x = L.SeparableConv2D(2 * widths[-1], 3, padding="same")(x)
    x = L.Activation("relu")(L.BatchNormalization()(x))
    x = L.Dropout(0.5)(L.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, L.Dense(2, activation="softmax")(x))


def keras_2():
    side_by_side("windows", windows(), "h5", size=8)
    side_by_side("transposed", transposed(), "h5", size=5)
    side_by_side("pools", pools(), "h5")
    side_by_side("activations", activations(), "h5", size=5)
    side_by_side("extents", extents(), "h5")
    side_by_side("numbers", numbers(), "h5", size=4)
    keep(merges(), "merges", "h5")
    model, logits = classifier()
    keep(model, "classifier", "h5", logits=logits)
    keep(ending_in("sigmoid", 1)[0], "one_unit", "h5")
    keep(ending_in("sigmoid", 3)[0], "labels", "h5")
    keep(ending_in("softmax", 3, pixels=True)[0], "pixels", "h5")
    model, logits = classifier()
    keep(model, "classifier", "keras", logits=logits)
    import tensorflow_addons as tfa

    keras.backend.clear_session()
    model = polar_low(48, 32, [3])
    fill(model)
    model.filled = True
    model.compile(tfa.optimizers.AdamW(1e-4, 1e-3), "categorical_crossentropy")
    keep(model, "polar_low", "h5")
    keep(model, "polar_low_weights", "h5", weights_only=True)


def keras_3():
    """What Keras 3 writes in another way or means otherwise."""
    few = [L.Activation(name) for name in ("hard_sigmoid", "leaky_relu", "relu6", "silu")]
    few += [L.ReLU(6.0), L.LeakyReLU(negative_slope=0.05), L.PReLU(shared_axes=[1, 2])]
    side_by_side("windows", windows()[:2] + windows()[4:5] + windows()[7:8], "keras", size=6)
    side_by_side("activations", few, "keras", size=4)
    keep(merges(), "merges", "keras")
    model, logits = classifier()
    keep(model, "classifier", "keras", logits=logits)
    keep(ending_in("softmax", 3, pixels=True)[0], "pixels", "h5")


FOLDER.mkdir(exist_ok=True)
keras_3() if SUFFIX == "_3" else keras_2()
write(
    FOLDER / f"predictions{SUFFIX}.safetensors", tensors, sys.argv[0], VERSIONS,
)

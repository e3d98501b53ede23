"""Goldens of the polar-low network from Keras 2.15: forward and ten training steps in float64 with
both AdamW forms of Keras, one float32 step for its fused BatchNorm, and the names that Keras gives.

In float64 two roundings of Keras' own to float32 are put right, which else show at 1e-6: of the
optimisers' hyperparameters (given as float64 tensors instead), and of 1 - momentum in
BatchNormalization (its update of the running statistics is written out in float64)."""

import json

import numpy as np
from keras_quiet import VERSIONS, exact, tf

import tensorflow_addons as tfa
from tensorflow import keras
from tensorflow.keras import layers

from common import (
    CLASSES,
    OUT,
    WIDTHS,
    is_statistic,
    network_input,
    parameters,
    read_metadata,
    summary,
    write,
)

BATCH, STEPS = 2, 10
LABELS = [0, 1]
LR, DECAY, BETAS, EPSILON = 1e-3, 1e-4, (0.9, 0.999), 1e-7


class BatchNormalization(layers.BatchNormalization):  # the same name: Keras numbers layers by it
    def _assign_moving_average(self, variable, value, momentum, inputs_size):
        if variable.dtype != tf.float64:
            return super()._assign_moving_average(variable, value, momentum, inputs_size)
        rate = tf.constant(1.0 - momentum, tf.float64)
        return variable.assign_sub((variable - value) * rate)


def build(widths, crop, source=None):
    """The published construction. With `source`, the picture size, preprocessing is in the
    model."""
    keras.backend.clear_session()
    inputs = keras.Input((source or crop, source or crop, 3))
    x = inputs
    if source:
        p = layers.experimental.preprocessing
        x = keras.Sequential(
            [
                p.RandomTranslation(0.1, 0.1, fill_mode="constant"),
                p.RandomFlip("horizontal_and_vertical"),
                p.RandomRotation(0.4, fill_mode="constant"),
                p.RandomZoom(0.15, fill_mode="constant"),
                p.CenterCrop(crop, crop),
                p.Rescaling(1.0 / 255),
            ],
            name="Augment_and_Crop_and_Rescale",
        )(x)
    x = layers.Conv2D(widths[0], 3, strides=2, padding="same")(x)
    x = layers.Activation("relu")(BatchNormalization()(x))
    previous = x
    for width in widths:
        for _ in range(2):
            x = layers.SeparableConv2D(width, 3, padding="same")(x)
            x = layers.Activation("relu")(BatchNormalization()(x))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        skip = layers.Conv2D(width, 1, strides=2, padding="same")(previous)
        x = layers.add([x, skip])
        previous = x
    x = layers.SeparableConv2D(2 * widths[-1], 3, padding="same")(x)
    x = layers.Activation("relu")(BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5 if source else 0.0)(x)
    # Trained on the logits: on probabilities Keras' cross-entropy may clip them.
    x = layers.Dense(CLASSES, activation="softmax" if source else None)(x)
    return keras.Model(inputs, x)


def load(model, arrays):
    for v in model.variables:
        value = arrays[v.name.removesuffix(":0")]
        v.assign(value.reshape(v.shape))


def named(variables):
    return {v.name.removesuffix(":0"): v for v in variables}


def batch(seed, crop):
    return tf.constant(network_input(seed, BATCH, crop), keras.backend.floatx())


def loss_of(logits):
    return tf.reduce_mean(
        keras.losses.categorical_crossentropy(
            tf.one_hot(LABELS, CLASSES, dtype=logits.dtype), logits, from_logits=True
        )
    )


def layer_summaries(model, x, training, prefix):
    taps = [l for l in model.layers if not isinstance(l, (layers.InputLayer, layers.Dropout))]
    values = keras.Model(model.inputs, [l.output for l in taps])(x, training=training)
    name = lambda l: "logits" if l.name == "dense" else l.name
    return {f"{prefix}/{name(l)}": summary(name(l), v.numpy()) for l, v in zip(taps, values)}


def optimizer_for(form):
    if form == "addons":  # it takes tensors only from callables
        return tfa.optimizers.AdamW(
            weight_decay=lambda: exact(DECAY),
            learning_rate=lambda: exact(LR),
            beta_1=lambda: exact(BETAS[0]),
            beta_2=lambda: exact(BETAS[1]),
            epsilon=EPSILON,
        )
    return keras.optimizers.AdamW(
        LR, exact(DECAY), exact(BETAS[0]), exact(BETAS[1]), EPSILON, jit_compile=False
    )


FORMS = {
    "addons": {"decay_scaled_by_lr": False, "epsilon_placement": "keras"},
    "keras": {"decay_scaled_by_lr": True, "epsilon_placement": "keras"},
}


def first_step(model, seed, out, prefix):
    """Gradients and running statistics of one train-mode pass (the caller reloads the weights)."""
    with tf.GradientTape() as tape:
        logits = model(batch(seed, 64), training=True)
        loss = loss_of(logits)
    variables = named(model.trainable_variables)
    gradients = tape.gradient(loss, variables)
    out[f"{prefix}/logits"], out[f"{prefix}/loss"] = logits.numpy(), loss.numpy().reshape(1)
    for name, g in gradients.items():
        out[f"{prefix}/gradient_summary/{name}"] = summary(name, g.numpy())
    return {n: v for n, v in named(model.variables).items() if is_statistic(n)}


def training(kind):
    seed = int(read_metadata(f"polar_low_torch_64_{kind}.safetensors")["seed"])
    base = parameters(WIDTHS[kind])
    out = {}
    model = build(WIDTHS[kind], 64)
    load(model, base)
    for name, v in first_step(model, seed, out, "train").items():
        out[f"train/statistic/{name}"] = v.numpy()
    load(model, base)
    out |= layer_summaries(model, batch(seed, 64), False, "eval/layer")
    logits = model(batch(seed, 64), training=False)
    out["eval/logits"], out["eval/loss"] = logits.numpy(), loss_of(logits).numpy().reshape(1)
    out |= layer_summaries(model, batch(seed, 64), True, "train/layer")

    for form in FORMS:
        load(model, base)
        optimizer, losses = optimizer_for(form), []
        for step in range(STEPS):
            with tf.GradientTape() as tape:
                loss = loss_of(model(batch(seed + step, 64), training=True))
            variables = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
            losses.append(loss.numpy())
        out[f"{form}/losses"] = np.array(losses)
        for name, v in named(model.variables).items():
            out[f"{form}/after_ten/{name}"] = summary(name, v.numpy())
        logits = model(batch(seed, 64), training=False)
        out[f"{form}/after_ten_eval/logits"] = logits.numpy()
    write(
        f"polar_low_keras_64_{kind}.safetensors",
        out,
        __file__,
        VERSIONS,
        dtype="float64",
        widths=WIDTHS[kind],
        crop=64,
        batch=BATCH,
        labels=LABELS,
        seed=seed,
        step_seeds=[seed + s for s in range(STEPS)],
        running_variance="biased",
        optimizers={
            form: {
                "lr": LR,
                "decay": DECAY,
                "beta1": BETAS[0],
                "beta2": BETAS[1],
                "epsilon": EPSILON,
                **switches,
            }
            for form, switches in FORMS.items()
        },
    )


def forward_512():
    base, seed, out = parameters(), 7, {}
    model = build(WIDTHS["published"], 512)
    for mode in ("train", "eval"):
        load(model, base)
        logits = model(batch(seed, 512), training=mode == "train")
        out[f"{mode}/logits"] = logits.numpy()
        out[f"{mode}/loss"] = loss_of(logits).numpy().reshape(1)
        load(model, base)
        out |= layer_summaries(model, batch(seed, 512), mode == "train", f"{mode}/layer")
    write(
        "polar_low_keras_512.safetensors",
        out,
        __file__,
        VERSIONS,
        dtype="float64",
        widths=WIDTHS["published"],
        crop=512,
        batch=BATCH,
        labels=LABELS,
        seed=seed,
    )


def float32_statistics():
    """Keras' BatchNorm is fused in float32 and stores the unbiased variance. Narrow widths, in
    full."""
    kind = "narrow"
    seed = int(read_metadata(f"polar_low_torch_64_{kind}.safetensors")["seed"])
    model = build(WIDTHS[kind], 64)
    load(model, parameters(WIDTHS[kind]))
    logits = model(batch(seed, 64), training=True)
    out = {"logits": logits.numpy(), "loss": loss_of(logits).numpy().reshape(1)}
    for name, v in named(model.variables).items():
        if is_statistic(name):
            out[f"statistic/{name}"] = v.numpy()
    write(
        "polar_low_keras_float32.safetensors",
        out,
        __file__,
        VERSIONS,
        dtype="float32",
        widths=WIDTHS[kind],
        crop=64,
        batch=BATCH,
        labels=LABELS,
        seed=seed,
        running_variance="unbiased",
    )


def names():
    """Keras' own layer names and shapes at the published sizes, in the model's order."""
    model = build(WIDTHS["published"], 1024, 1536)
    rows = []
    for layer in model.layers:
        shape = (
            layer.output_shape[0] if isinstance(layer, layers.InputLayer) else layer.output_shape
        )
        rows.append(
            {
                "name": layer.name,
                "class": layer.__class__.__name__,
                "shape": list(shape[1:]),
                "parameters": layer.count_params(),
                "weights": {
                    v.name.removesuffix(":0"): list(v.shape)
                    for v in layer.weights
                    if not isinstance(layer, keras.Sequential)
                },
            }
        )
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    result = {
        "keras": VERSIONS["keras"],
        "size": 1536,
        "crop": 1024,
        "widths": WIDTHS["published"],
        "parameters": model.count_params(),
        "trainable": trainable,
        "layers": rows,
    }
    with open(OUT / "polar_low_keras_layers.json", "w") as f:
        head = {k: v for k, v in result.items() if k != "layers"}
        f.write(json.dumps(head)[:-1] + ', "layers": [\n')
        f.write(",\n".join(json.dumps(row) for row in rows) + "\n]}\n")
    print("parameters", result["parameters"], "trainable", trainable, "layers", len(rows))


keras.backend.set_floatx("float64")
training("published")
training("narrow")
forward_512()
keras.backend.set_floatx("float32")
float32_statistics()
names()

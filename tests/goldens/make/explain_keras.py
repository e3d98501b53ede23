"""Goldens of explanations as the published notebooks make them, by Keras 2.15 on a model file of
../keras: Grad-CAM of the last activation for the logit of class 1 (softmax removed; the ReLU of the
weighted sum over its maximum), and integrated gradients of the probability of class 1 from black, by
the trapezoid rule over 200 steps, times the picture (0...255), whose bytes are the floor of
256 u("explained picture", i)."""

from pathlib import Path

import numpy as np
from keras_quiet import VERSIONS, tf
from tensorflow import keras

from common import u, write

FOLDER = Path(__file__).resolve().parent.parent / "keras"
FILE, LAYER, SIZE, STEPS, BATCH = "polar_low_2_15.h5", "activation_3", 48, 200, 4


def main():
    picture = np.floor(256 * u("explained picture", 1, SIZE, SIZE, 3)).astype(np.uint8)
    x = tf.constant(picture.astype(np.float32))
    model = keras.models.load_model(FOLDER / FILE, compile=False)

    def probability(points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            score = model(points, training=False)[:, 1]
        return tape.gradient(score, points)

    total = np.zeros(picture.shape[1:], np.float64)
    alphas = np.linspace(0, 1, STEPS + 1)
    for begin in range(0, STEPS + 1, BATCH):
        some = alphas[begin : begin + BATCH]
        points = tf.constant(some[:, None, None, None].astype(np.float32)) * x
        for alpha, gradient in zip(some, probability(points).numpy()):
            total += gradient * (0.5 if alpha in (0, 1) else 1.0)
    attributions = total / STEPS * picture[0]

    model.layers[-1].activation = None
    inner = keras.Model(model.inputs, [model.get_layer(LAYER).output, model.output])
    with tf.GradientTape() as tape:
        features, logits = inner(x, training=False)
        logit = logits[:, 1]
    weights = tf.reduce_mean(tape.gradient(logit, features), (1, 2))
    cam = tf.reduce_sum(features * weights[:, None, None, :], -1).numpy()[0]

    write(
        "explain_keras.safetensors",
        {
            "cam": cam,
            "heat": np.maximum(cam, 0) / cam.max(),
            "attributions": attributions.astype(np.float32),
        },
        __file__,
        VERSIONS,
        model=[FILE],
        layer=[LAYER],
        size=SIZE,
        steps=STEPS,
    )


main()

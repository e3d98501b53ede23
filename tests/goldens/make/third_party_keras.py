"""What Keras 2.15 gives for seeded pictures with the three models of face_classification (MIT, see
PROVENANCE.txt of the folder keras-h5 of the test data), which Keras 2.0.5 wrote.

    K/bin/python third_party_keras.py FOLDER_OF_TEST_DATA"""

import sys
from pathlib import Path

import numpy as np
from keras_quiet import VERSIONS, tf  # noqa: F401
from tensorflow import keras

from common import u, write

tensors = {}
for path in sorted(Path(sys.argv[1], "keras-h5/emotion").iterdir()):
    model = keras.models.load_model(path, compile=False)
    # As the repository's own code scales pictures: x / 255, - 0.5, * 2.
    x = np.floor(256 * u("picture", 20, 64, 64, 1)).astype(np.float32) / 255
    tensors[path.name] = np.asarray(model.predict((x - 0.5) * 2, verbose=0))
write("keras/predictions_face_classification.safetensors", tensors, sys.argv[0], VERSIONS)

#!/usr/bin/env python3
"""predict.py LIBFULMAR MODEL HEIGHT WIDTH: reads a picture's 8-bit pixels (rows, columns, bands)
from standard input and prints what the model's first output says. Python's own ctypes alone."""
import ctypes
import json
import sys
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p


class Tensor(ctypes.Structure):
    """fulmar_tensor of fulmar.h."""
    _fields_ = [("data", c_void_p), ("type", c_int32), ("rank", c_int32),
                ("extents", c_int64 * 4), ("strides", c_int64 * 4)]


class Fulmar:
    """The functions of libfulmar, whose failures become exceptions."""

    def __init__(self, library):
        self.lib = ctypes.CDLL(library)
        self.lib.fulmar_last_error.restype = c_char_p
        self.lib.fulmar_model_metadata.restype = c_char_p
        self.lib.fulmar_model_metadata.argtypes = [c_void_p, c_char_p]
        for name in ("fulmar_model_free", "fulmar_session_free"):
            getattr(self.lib, name).argtypes = [c_void_p]
            getattr(self.lib, name).restype = None
        self.declare("fulmar_model_load", c_char_p, c_char_p, POINTER(c_void_p))
        self.declare("fulmar_session_create", c_void_p, c_int32, POINTER(c_void_p))
        for name in ("fulmar_model_input", "fulmar_model_output"):
            self.declare(name, c_void_p, c_size_t, POINTER(c_char_p), POINTER(Tensor))
        self.declare("fulmar_session_run", c_void_p, POINTER(Tensor), c_size_t, POINTER(Tensor),
                     c_size_t)

    def declare(self, name, *arguments):
        def check(status, *_):
            if status:
                raise RuntimeError(f"status {status}: {self.lib.fulmar_last_error().decode()}")
        function = getattr(self.lib, name)
        function.argtypes, function.restype, function.errcheck = arguments, c_int32, check

    def predict(self, path, pixels, height, width):
        """The classes' names and probabilities for one picture. ctypes gives up Python's lock
        during calls, so threads with a session each work side by side."""
        model, session = c_void_p(), c_void_p()
        try:
            self.lib.fulmar_model_load(path.encode(), None, byref(model))
            self.lib.fulmar_session_create(model, 1, byref(session))
            picture, output = Tensor(), Tensor()
            self.lib.fulmar_model_input(model, 0, None, byref(picture))
            self.lib.fulmar_model_output(model, 0, None, byref(output))
            bands, classes = picture.extents[3], output.extents[3]
            if len(pixels) != height * width * bands:
                raise ValueError(f"{height * width * bands} bytes of pixels were expected")
            numbers = (ctypes.c_float * classes)()
            picture.data = ctypes.cast(ctypes.c_char_p(pixels), c_void_p)
            picture.extents[:] = [1, height, width, bands]
            output.data = ctypes.cast(numbers, c_void_p)
            output.extents[0] = 1
            self.lib.fulmar_session_run(session, byref(picture), 1, byref(output), 1)
            return json.loads(self.lib.fulmar_model_metadata(model, b"classes")), list(numbers)
        finally:
            self.lib.fulmar_session_free(session)
            self.lib.fulmar_model_free(model)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    try:
        classes, numbers = Fulmar(sys.argv[1]).predict(
            sys.argv[2], sys.stdin.buffer.read(), int(sys.argv[3]), int(sys.argv[4]))
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
    for name, number in zip(classes, numbers):
        print(f"{name} {number:.6f}")

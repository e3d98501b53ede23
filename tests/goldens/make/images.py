"""Expected pixels for the image reader: tests/goldens/images/.

    python images.py FOLDER_OF_TEST_DATA        (pip install -r requirements-images.txt)

samples.tsv has a row for 100 of the JPEGs in FOLDER/mstar10: path, height, width, mean, 64 pixels
of a fixed grid as hex. The small *.jpg lie beside what Pillow makes of them, as PNG.
"""
import pathlib
import random
import sys

import numpy as np
from PIL import Image

data = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).resolve().parent.parent / "images"
out.mkdir(exist_ok=True)

random.seed(1)
chips = sorted((data / "mstar10").rglob("*.jpeg"))
rows = []
for path in sorted(random.sample(chips, 100)):
    pixels = np.asarray(Image.open(path).convert("L"))
    h, w = pixels.shape
    grid = pixels[np.ix_(*[[(2 * i + 1) * side // 16 for i in range(8)] for side in (h, w)])]
    rows.append([path.relative_to(data), h, w, f"{pixels.mean():.4f}", grid.tobytes().hex()])
(out / "samples.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))

# A picture with smooth parts, edges and noise, of a size that no block divides.
y, x = np.mgrid[0:45, 0:61]
rng = np.random.default_rng(1)
rgb = np.stack([128 + 90 * np.sin(x / 9) * np.cos(y / 7), 4.0 * x, 255 - 5.0 * y], -1)
rgb[10:20, 15:40] = (250, 20, 30)
rgb = np.clip(rgb + rng.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
colour, grey = Image.fromarray(rgb), Image.fromarray(rgb).convert("L")


def jpeg(name, image, **options):
    image.save(out / f"{name}.jpg", "JPEG", **options)
    Image.open(out / f"{name}.jpg").save(out / f"{name}.jpg.png", optimize=True)


jpeg("grey", grey, quality=90)
jpeg("colour_444", colour, quality=90, subsampling=0)
jpeg("colour_422", colour, quality=90, subsampling=1)
jpeg("colour_420", colour, quality=75, subsampling=2)
jpeg("progressive", colour, quality=85, progressive=True)
jpeg("restarts", colour, quality=90, restart_marker_blocks=3)
colour.convert("CMYK").save(out / "cmyk.jpg", "JPEG")

colour.save(out / "colour.png", optimize=True)
grey.save(out / "colour_as_grey.png", optimize=True)  # convert("L")
alpha = Image.fromarray(np.dstack([rgb, (4 * x).astype(np.uint8)]))
alpha.save(out / "alpha.png", optimize=True)
colour.quantize(64).save(out / "palette.png", optimize=True)
colour.quantize(64).convert("RGB").save(out / "palette_as_rgb.png", optimize=True)
colour.save(out / "colour.bmp")
alpha.save(out / "alpha.bmp")
grey.save(out / "grey.bmp")

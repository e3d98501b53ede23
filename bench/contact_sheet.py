"""24 made scenes beside real ones, in one picture: bench/scenes.jpg.

    fulmar synth SCENES --train 24 --test 0 --size 768 --resolution 1000 --seed 4
    python3 bench/contact_sheet.py SCENES REAL OUT.jpg

REAL is a folder with polar-low-figure/ (output pictures of GradCAM.ipynb and Integrated_gradients.ipynb in
github.com/FilippoMB/Recognition-of-polar-lows-in-Sentinel-1-SAR-images-with-deep-learning, MIT) and s1-quicklooks/
(browse pictures in github.com/johntruckenbrodt/pyroSAR, MIT); both Copernicus Sentinel data. Tried with Pillow 12.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

scenes, real, out = (Path(argument) for argument in sys.argv[1:4])
SIDE, GAP, HEAD = 230, 6, 26
COLUMNS = 7
sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, 4 * (SIDE + GAP) + GAP + HEAD), (245, 245, 245))
draw = ImageDraw.Draw(sheet)


def place(picture, column, row):
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.LANCZOS)
    left, top = GAP + column * (SIDE + GAP), HEAD + row * (SIDE + GAP)
    sheet.paste(picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2))


for half, kind in enumerate(("neg", "pos")):
    for i, path in enumerate(sorted((scenes / "train" / kind).glob("*.png"))[:12]):
        place(Image.open(path), 3 * half + i % 3, i // 3)

# The scene of the published notebook, as matplotlib drew it: the picture without its margins.
low = Image.open(real / "polar-low-figure" / "cell07_1.png").crop((7, 22, 388, 403))
place(low, 6, 0)
looks = sorted((real / "s1-quicklooks").glob("*.png"))
for row, name in enumerate((looks[0], looks[1], looks[4])):
    place(Image.open(name), 6, row + 1)
for column, text in ((0, "made, without a vortex"), (3, "made, with one"), (6, "real")):
    draw.text((GAP + column * (SIDE + GAP) + 2, 7), text, fill=(30, 30, 30))
sheet.save(out, quality=82, optimize=True)

"""Small TIFFs of every kind that is read, and what is in them: tests/goldens/images/tiff/.

    python tiff_kinds.py        (pip install -r requirements-images.txt)

kinds.tsv: file, height, width, bands, type, nodata, whether transparency is dropped, CRC-32 of the
pixels (little-endian). The pixels are those that were given to the writer, tifffile or GDAL
(rasterio); where libtiff's own conventions apply (bits, palettes) they are written out here.
A few of the files are also seeds of the fuzz targets: tests/fuzz/corpus/image and .../tiff.
"""
import pathlib
import shutil
import warnings
import zlib

import numpy as np
import rasterio
import tifffile
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

warnings.filterwarnings("ignore")
here = pathlib.Path(__file__).resolve().parent.parent
out = here / "images" / "tiff"
out.mkdir(exist_ok=True)
rows = []
rng = np.random.default_rng(4)
H, W = 19, 23  # no tile or strip divides them


def scene(dtype, bands=1, h=H, w=W):
    """Smooth with noise, over most of the type's range."""
    y, x, b = np.mgrid[0:h, 0:w, 0:bands]
    t = 0.5 + 0.35 * np.sin(x / 7 + b) * np.cos(y / 5) + rng.normal(0, 0.03, x.shape)
    t = np.clip(t, 0, 1)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (t * 40 - 30).astype(dtype)
    if dtype.itemsize == 4:
        return (t * 2**24 - (2**23 if dtype.kind == "i" else 0)).astype(dtype)
    info = np.iinfo(dtype)
    return (info.min + t * (float(info.max) - info.min)).astype(dtype)


def add(name, expected, nodata="-", alpha=0):
    if expected.dtype not in (np.uint8, np.uint16):
        expected = expected.astype(np.float32)
    kind = {"uint8": "u8", "uint16": "u16", "float32": "f32"}[expected.dtype.name]
    raw = np.ascontiguousarray(expected).astype(expected.dtype.newbyteorder("<")).tobytes()
    rows.append([name, *expected.shape, kind, nodata, alpha, f"{zlib.crc32(raw):08x}"])


def write(name, pixels, expected=None, nodata="-", alpha=0, planar=False, **options):
    options.setdefault("photometric", "minisblack")
    options.setdefault("metadata", None)
    stored = pixels
    if planar:
        stored, options["planarconfig"] = np.moveaxis(pixels, -1, 0), "separate"
    elif pixels.shape[-1] == 1:
        stored = pixels[..., 0]
    else:
        options["planarconfig"] = "contig"
    tifffile.imwrite(out / name, stored, **options)
    add(name, pixels if expected is None else expected, nodata, alpha)


def write_gdal(name, pixels, expected=None, nodata="-", gdal_nodata=None, **options):
    h, w, bands = pixels.shape
    with rasterio.open(out / name, "w", driver="GTiff", height=h, width=w, count=bands,
                       dtype=pixels.dtype, nodata=gdal_nodata, **options) as file:
        file.write(np.moveaxis(pixels, -1, 0))
    add(name, pixels if expected is None else expected, nodata)


# Types, byte orders, BigTIFF.
for dtype in ("uint8", "uint16", "float32", "int8", "int16", "int32", "uint32", "float64"):
    write(f"{dtype}.tif", scene(dtype))
    write(f"{dtype}_big_endian.tif", scene(dtype), byteorder=">")
write("bigtiff.tif", scene("uint16"), bigtiff=True)
write("bigtiff_big_endian.tif", scene("float32", 2), bigtiff=True, byteorder=">")

# Bands and layouts.
for bands in (2, 3, 4, 7):
    write(f"float32_{bands}_bands.tif", scene("float32", bands), rowsperstrip=8)
    write(f"uint16_{bands}_bands_planar.tif", scene("uint16", bands), planar=True, rowsperstrip=8)
write("tiles.tif", scene("float32", 2), tile=(16, 32))
write("tiles_planar.tif", scene("uint8", 3), planar=True, tile=(16, 16))
write("rgb.tif", scene("uint8", 3), photometric="rgb")
write("one_tile.tif", scene("uint16"), tile=(64, 64), compression="zlib")

# Compressions, with predictors.
for dtype in ("uint8", "uint16", "float32"):
    for compression in ("lzw", "zlib", "packbits", "zstd", "lzma"):
        write(f"{dtype}_{compression}.tif", scene(dtype, 2), compression=compression,
              rowsperstrip=8)
for compression in ("lzw", "zlib", "zstd"):
    write(f"uint8_{compression}_predictor.tif", scene("uint8", 3), compression=compression,
          predictor=2)
    write(f"uint16_{compression}_predictor.tif", scene("uint16", 2), compression=compression,
          predictor=2, tile=(16, 16))
    write(f"float32_{compression}_predictor.tif", scene("float32", 2), compression=compression,
          predictor=3, tile=(16, 16))
write("uint16_predictor_big_endian.tif", scene("uint16", 3), compression="zlib", predictor=2,
      byteorder=">")
write("float32_predictor_big_endian.tif", scene("float32", 3), compression="lzw", predictor=3,
      byteorder=">")
write("float64_predictor.tif", scene("float64"), compression="zlib", predictor=3)
write("float32_lerc.tif", scene("float32"), compression="lerc", compressionargs={"level": 0})
write("webp.tif", scene("uint8", 3), photometric="rgb", compression="webp",
      compressionargs={"lossless": True}, tile=(32, 32))

# Greys and colours of other kinds.
grey = scene("uint8")
write("white_is_zero.tif", 255 - grey, grey, photometric="miniswhite")
wide = scene("uint16")
write("white_is_zero_16.tif", 65535 - wide, wide, photometric="miniswhite")
for bits in (1, 2, 4):
    small = scene("uint8") >> (8 - bits)
    write_gdal(f"grey_{bits}_bit.tif", small, (small * (255 // (2**bits - 1))).astype(np.uint8),
               nbits=bits)
    write_gdal(f"grey_{bits}_bit_bands.tif", np.concatenate([small, small[::-1]], -1),
               (np.concatenate([small, small[::-1]], -1) * (255 // (2**bits - 1))).astype(np.uint8),
               nbits=bits, interleave="pixel")
colours = rng.integers(0, 65536, (3, 256)).astype(np.uint16)
index = scene("uint8")
write("palette.tif", index, np.moveaxis(colours >> 8, 0, -1)[index[..., 0]].astype(np.uint8),
      photometric="palette", colormap=colours)

# Transparency and nodata.
rgba = scene("uint8", 4)
write("alpha.tif", rgba, rgba[..., :3], alpha=1, photometric="rgb", extrasamples=["unassalpha"])
write("alpha_planar.tif", rgba, rgba[..., :3], alpha=1, photometric="rgb", planar=True,
      extrasamples=["assocalpha"])
write("alpha_amid_bands.tif", rgba, rgba[..., [0, 2, 3]], alpha=1,
      extrasamples=["unassalpha", "unspecified", "unspecified"])
for name, value, dtype in (("float32", -9999.0, "float32"), ("float64", -1.7976931348623157e308,
                           "float64"), ("int16", -32768, "int16")):
    pixels = scene(dtype, 2)
    pixels[3:9, 5:15, 0] = value
    real = pixels.astype(np.float64).astype(np.float32)
    real[pixels == np.asarray(value, dtype)] = np.nan
    write_gdal(f"nodata_{name}.tif", pixels, real, gdal_nodata=value, compress="deflate",
               crs="EPSG:3996", transform=Affine(1000, 0, -5e5, 0, -1000, 2e6))
write_gdal("nodata_uint16.tif", scene("uint16"), nodata=65535, gdal_nodata=65535, compress="lzw",
           predictor=2)
# Tiles that hold nothing but nodata are left out of the file.
for dtype, value in (("float32", -99.0), ("uint8", 7)):
    pixels = scene(dtype, 1, 64, 64)
    pixels[:, 16:48] = value
    expected = pixels.copy()
    if dtype == "float32":
        expected[:, 16:48] = np.nan
    write_gdal(f"sparse_{dtype}.tif", pixels, expected, gdal_nodata=value, tiled=True,
               nodata="-" if dtype == "float32" else value, blockxsize=16, blockysize=16,
               sparse_ok=True, compress="deflate")

# Control points, for the georeference test.
with rasterio.open(out / "points.tif", "w", driver="GTiff", height=H, width=W, count=1,
                   dtype="uint8") as file:
    file.write(grey[..., 0], 1)
    file.gcps = ([GroundControlPoint(0, 0, 10, 70, 5), GroundControlPoint(0, W, 11, 70.5, 6),
                  GroundControlPoint(H, 0, 10.25, 69, 7)], "EPSG:4326")
add("points.tif", grey)

(out / "kinds.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
seeds = here.parent / "fuzz" / "corpus" / "tiff"
seeds.mkdir(exist_ok=True)
for name in ("uint8_lzw_predictor", "float32_zstd_predictor", "uint16_packbits", "bigtiff_big_endian",
             "tiles_planar", "float32_lerc", "webp", "palette", "grey_1_bit_bands", "alpha_planar",
             "nodata_float64", "sparse_float32", "points", "float32_lzma", "int16_big_endian"):
    shutil.copy(out / f"{name}.tif", seeds)

"""A row for every file of the picture corpora: tests/goldens/images/corpus*.tsv.

    python corpus.py FOLDER_OF_TEST_DATA        (pip install -r requirements-images.txt)

corpus.tsv: path, verdict, what the error says, height, width, bands, type, nodata, whether
transparency is dropped, CRC-32 of the decoded pixels (little-endian), oracle or reason. Verdicts:
  ok           equal to the oracle, which is Pillow for 8 bits of PNG and BMP and for what it
               unpacks (bits, palettes, white as zero), pypng for 16 bits of PNG, tifffile and
               rasterio for the other TIFFs; where they disagree the reason says why one is taken
  jpeg         within 2 of the oracle: corpus_jpeg.tsv has a 32 x 32 lattice of its pixels and the
               means of 8 x 8 parts
  unsupported  a picture of a kind that is not read, which is named
  corrupt      a damaged one, with the damage
  other        no picture
georeference.tsv: what rasterio says of each GeoTIFF: path, EPSG, transform, control points.
"""
import pathlib
import sys
import warnings
import zlib

import numpy as np
import png
import rasterio
import tifffile
from PIL import Image

warnings.filterwarnings("ignore")
Image.MAX_IMAGE_PIXELS = None
data = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).resolve().parent.parent / "images"

# PngSuite's own words, and what must be said of the file.
corrupt_png = {
    "xc1n0g08": ("colour type 1", "color type"), "xc9n2c08": ("colour type 9", "color type"),
    "xcrn0g04": ("added CR bytes", "starts with the bytes 89 50 4e 47 0d 0d"),
    "xcsn0g01": ("wrong IDAT checksum", "checksum"), "xd0n2c08": ("bit depth 0", "bit depth"),
    "xd3n2c08": ("bit depth 3", "bit depth"), "xd9n2c08": ("bit depth 99", "bit depth"),
    "xdtn0g01": ("no IDAT chunk", "chunk position"),
    "xhdn0g08": ("wrong IHDR checksum", "checksum"),
    "xlfn0g04": ("added LF bytes", "starts with the bytes 89 50 4e 47 0a 0a"),
    "xs1n0g01": ("wrong signature, byte 1", "starts with the bytes 09"),
    "xs2n0g01": ("wrong signature, byte 2", "starts with the bytes 89 51"),
    "xs4n0g01": ("wrong signature, byte 4", "starts with the bytes 89 50 4e 67"),
    "xs7n0g01": ("wrong signature, byte 7", "starts with the bytes 89 50 4e 47 0d 0a 20"),
}
corrupt_tiff = {
    "corrupt.tif": ("the last tile runs past the end of the file", "tile 4 of 4"),
}
unsupported_tiff = {
    "logluv-3c-16b.tiff": "LogLuv",
    "ojpeg_chewey_subsamp21_multi_strip.tiff": "old-style JPEG",
    "ojpeg_single_strip_no_rowsperstrip.tiff": "old-style JPEG",
    "ojpeg_zackthecat_subsamp22_single_strip.tiff": "old-style JPEG",
    "testfax3_bug54_1dnoEOL.tif": "CCITT group 3",
    "testfax3_bug_513.tiff": "CCITT group 3",
}
unsupported_formats = {
    ".pgm": "Netpbm", ".pbm": "Netpbm", ".ppm": "Netpbm", ".vrt": "a GDAL VRT", ".h5": "HDF5",
    ".zip": "a ZIP archive", ".ps": "PostScript", ".g3": "starts with the bytes 00 13 54 c1",
}
# Files on which the oracles disagree, and who is right.
settled = {
    "deflate-last-strip-extra-data.tiff": ("rasterio", "libdeflate refuses bytes behind the data"),
    "testfax4.tiff": ("Pillow", "tifffile's decoder errs: libtiff's own reference agrees"),
}


def oracle_png(path):
    if path.suffix == ".png" and path.read_bytes()[24] == 16:
        width, height, rows, info = png.Reader(bytes=path.read_bytes()).read()
        pixels = np.array([list(row) for row in rows], np.uint16)
        pixels = pixels.reshape(height, width, info["planes"])
        return (pixels[..., :-1] if info["alpha"] else pixels), "pypng"
    image = Image.open(path)
    grey = image.mode in ("1", "L", "LA") and path.suffix == ".png"
    pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1), "Pillow"


def dropped_alpha_of_picture(path):
    image = Image.open(path)
    return "A" in image.getbands() or "transparency" in image.info


def pillow_unpacked(path):
    image = Image.open(path)
    pixels = np.asarray(image.convert("RGB" if image.mode == "P" else "L"))
    return pixels.reshape(*pixels.shape[:2], -1)


def by_tifffile(path):
    with tifffile.TiffFile(path) as tiff:
        pixels = tiff.pages[0].asarray()
        if pixels.ndim == 2:
            return pixels[..., None]
        return np.moveaxis(pixels, 0, -1) if tiff.pages[0].planarconfig == 2 else pixels


def by_rasterio(path):
    with rasterio.open(path) as dataset:
        return np.moveaxis(dataset.read(), 0, -1), dataset.nodata


def oracle_tiff(path):
    """Pixels, nodata of whole numbers, dropped alpha, oracle; lossy ones are told by the oracle."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        alpha = [page.samplesperpixel - len(page.extrasamples) + i
                 for i, kind in enumerate(page.extrasamples) if kind in (1, 2)]
        unpacks = page.bitspersample < 8 or page.photometric in (0, 3)
        lossy = page.compression == 7
        lossless_alpha = alpha
    pixels, nodata = by_rasterio(path)
    if unpacks:
        pixels, oracle = pillow_unpacked(path), "Pillow"
    elif path.name in settled:
        oracle = settled[path.name][0]
    elif lossy:
        # GDAL converts YCbCr by arithmetic of its own, up to 2 away from libjpeg's.
        pixels, oracle = by_tifffile(path), "tifffile"
    else:
        other = by_tifffile(path)
        assert pixels.dtype == other.dtype and pixels.tobytes() == other.tobytes(), path
        oracle = "tifffile+rasterio"
    if lossless_alpha:
        pixels = np.delete(pixels, lossless_alpha, axis=-1)
    if pixels.dtype not in (np.uint8, np.uint16):
        real = pixels.astype(np.float32)
        if nodata is not None:
            real[pixels == np.asarray(nodata, pixels.dtype)] = np.nan
        pixels, nodata = real, None
    return pixels, nodata, bool(alpha), oracle, lossy


def row_ok(path, verdict, pixels, nodata, alpha, oracle):
    kind = {"uint8": "u8", "uint16": "u16", "float32": "f32"}[pixels.dtype.name]
    raw = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
    crc = f"{zlib.crc32(raw):08x}" if verdict == "ok" else "-"
    nodata = "-" if nodata is None or nodata != int(nodata) else int(nodata)
    return [path, verdict, "-", *pixels.shape, kind, nodata, int(alpha), crc, oracle]


def refused(path, verdict, says, reason):
    return [path, verdict, says, 0, 0, 0, "-", "-", 0, "-", reason]


rows, jpeg_rows, places = [], [], []


def add_jpeg(path, pixels):
    height, width, bands = pixels.shape
    ys, xs = ([(2 * i + 1) * side // 64 for i in range(32)] for side in (height, width))
    lattice = pixels[np.ix_(ys, xs)].tobytes().hex()
    edges = [[i * side // 8 for i in range(9)] for side in (height, width)]
    means = [pixels[edges[0][r]:edges[0][r + 1], edges[1][c]:edges[1][c + 1], b].mean()
             for r in range(8) for c in range(8) for b in range(bands)]
    jpeg_rows.append([path, lattice, " ".join(f"{mean:.3f}" for mean in means)])


def add_place(name, path):
    with rasterio.open(path) as dataset:
        gcps, crs = dataset.gcps
        crs = dataset.crs or crs
        epsg = (crs.to_epsg() or 0) if crs else 0
        transform = dataset.transform.to_gdal() if not dataset.transform.is_identity else None
        if crs or transform or gcps:
            text = " ".join(repr(v) for v in transform) if transform else "-"
            points = ";".join(f"{p.col!r} {p.row!r} {p.x!r} {p.y!r} {p.z!r}" for p in gcps)
            places.append([name, epsg, text, points or "-"])


for corpus in ("png-corpus", "s1-geotiff", "tiff-corpus"):
    for path in sorted((data / corpus).rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(data)
        if path.stem in corrupt_png:
            reason, says = corrupt_png[path.stem]
            rows.append(refused(name, "corrupt", says, f"PngSuite: {reason}"))
        elif path.name in corrupt_tiff:
            reason, says = corrupt_tiff[path.name]
            rows.append(refused(name, "corrupt", says, reason))
        elif path.name in unsupported_tiff:
            says = unsupported_tiff[path.name]
            rows.append(refused(name, "unsupported", says, says + " compression"))
        elif path.suffix in (".png", ".bmp"):
            pixels, oracle = oracle_png(path)
            alpha = path.suffix == ".png" and dropped_alpha_of_picture(path)
            rows.append(row_ok(name, "ok", pixels, None, alpha, oracle))
        elif path.suffix == ".jpg":
            pixels = np.asarray(Image.open(path))
            rows.append(row_ok(name, "jpeg", pixels, None, False, "Pillow"))
            add_jpeg(name, pixels)
        elif path.suffix in (".tif", ".tiff", ".ovr"):
            pixels, nodata, alpha, oracle, lossy = oracle_tiff(path)
            rows.append(row_ok(name, "jpeg" if lossy else "ok", pixels, nodata, alpha, oracle))
            if lossy:
                add_jpeg(name, pixels)
            add_place(name, path)
        elif path.suffix in unsupported_formats:
            says = unsupported_formats[path.suffix]
            rows.append(refused(name, "unsupported", says, f"{path.suffix} file"))
        else:
            rows.append(refused(name, "other", "not a picture", "text, metadata or a vector file"))


def write(file, table):
    (out / file).write_text("".join("\t".join(map(str, row)) + "\n" for row in table))


write("corpus.tsv", rows)
write("corpus_jpeg.tsv", jpeg_rows)
write("georeference.tsv", places)

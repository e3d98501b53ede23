#include "data/geotiff.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "data/ice_scene.h"
#include "data/image_format.h"
#include "data/tiff_file.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

bool finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

// Moves what is counted from pixels' centres by half a pixel: `by` is 0.5 when reading.
void shift(Georeference& g, double by) {
  if (g.transform) {
    std::array<double, 6>& t = *g.transform;
    t[0] -= by * (t[1] + t[2]);
    t[3] -= by * (t[4] + t[5]);
  }
  for (GroundPoint& point : g.points) {
    point.column += by;
    point.row += by;
  }
}

void read_position(const TiffFile& file, Georeference& g) {
  const auto scale = file.values<double>(tag_pixel_scale);
  const auto ties = file.values<double>(tag_tiepoints);
  const auto matrix = file.values<double>(tag_transformation);
  if (!finite(scale) || !finite(ties) || !finite(matrix)) return;
  if (scale.size() >= 2 && scale[0] != 0 && scale[1] != 0 && ties.size() >= 6) {
    // Rows go down, whatever the sign that some writers give.
    const double width = scale[0], height = -std::abs(scale[1]);
    g.transform = {ties[3] - ties[0] * width, width, 0, ties[4] - ties[1] * height, 0, height};
  } else if (matrix.size() == 16) {
    g.transform = {matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5]};
  } else {
    for (size_t at = 0; at + 6 <= ties.size(); at += 6)
      g.points.push_back({ties[at], ties[at + 1], ties[at + 3], ties[at + 4], ties[at + 5]});
  }
}

template <class T>
void set(const TiffFile& file, uint32_t tag, const std::vector<T>& values) {
  if (!values.empty())
    TIFFSetField(file.get(), tag, static_cast<uint32_t>(values.size()), values.data());
}

void set_georeference(const TiffFile& file, Georeference g) {
  if (g.pixel_is_point()) shift(g, -0.5);
  if (g.transform) {
    const std::array<double, 6>& t = *g.transform;
    if (t[2] == 0 && t[4] == 0 && t[1] > 0 && t[5] < 0) {
      set<double>(file, tag_pixel_scale, {t[1], -t[5], 0});
      set<double>(file, tag_tiepoints, {0, 0, 0, t[0], t[3], 0});
    } else {
      set<double>(file, tag_transformation,
                  {t[1], t[2], 0, t[0], t[4], t[5], 0, t[3], 0, 0, 0, 0, 0, 0, 0, 1});
    }
  }
  std::vector<double> ties;
  for (const GroundPoint& p : g.points)
    ties.insert(ties.end(), {p.column, p.row, 0, p.x, p.y, p.z});
  set(file, tag_tiepoints, ties);
  set(file, tag_geo_keys, g.geo_keys);
  set(file, tag_geo_doubles, g.geo_doubles);
  if (!g.geo_ascii.empty()) TIFFSetField(file.get(), tag_geo_ascii, g.geo_ascii.c_str());
}

void set_layout(const TiffFile& file, const Image& image, uint32_t rows_per_strip) {
  TIFF* tiff = file.get();
  const bool real = image.type == DType::f32;
  const bool colour = image.bands == 3 && !real;
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, static_cast<uint32_t>(image.width));
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, static_cast<uint32_t>(image.height));
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(image.bands));
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, static_cast<int>(8 * size_of(image.type)));
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, real ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, colour ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, rows_per_strip);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
  TIFFSetField(tiff, TIFFTAG_PREDICTOR, real ? PREDICTOR_FLOATINGPOINT : PREDICTOR_HORIZONTAL);
  const std::vector<uint16_t> extra(static_cast<size_t>(image.bands - (colour ? 3 : 1)),
                                    EXTRASAMPLE_UNSPECIFIED);
  if (!extra.empty())
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, static_cast<int>(extra.size()), extra.data());
}

void set_colours(const TiffFile& file, const Image& image, const ColourTable& colours) {
  if (colours.empty()) return;
  if (image.type != DType::u8 || image.bands != 1 || colours.size() != 256)
    usage_error("a table of 256 colours goes with one band of u8");
  std::array<std::vector<uint16_t>, 3> channels;
  for (const auto& colour : colours)
    for (size_t c = 0; c < 3; c++) channels[c].push_back(static_cast<uint16_t>(257 * colour[c]));
  TIFF* tiff = file.get();
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_PALETTE);
  TIFFSetField(tiff, TIFFTAG_PREDICTOR, PREDICTOR_NONE);  // places are no amounts
  TIFFSetField(tiff, TIFFTAG_ZIPQUALITY, 4);              // as of encode_png's palettes
  TIFFSetField(tiff, TIFFTAG_COLORMAP, channels[0].data(), channels[1].data(), channels[2].data());
}

std::string shortest_text(double value) {
  std::array<char, 64> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

void check_writable(const Image& image, const Georeference& georeference) {
  if (image.type != DType::u8 && image.type != DType::u16 && image.type != DType::f32)
    usage_error(std::string("a GeoTIFF of ") + name_of(image.type) +
                " values is not written; convert them to f32");
  if (image.height < 1 || image.width < 1 || image.bands < 1 || image.bands > 65535 ||
      image.height > UINT32_MAX || image.width > UINT32_MAX ||
      image.data.size() != static_cast<size_t>(image.bytes()))
    usage_error("a picture of " + std::to_string(image.width) + " x " +
                std::to_string(image.height) + " pixels, " + std::to_string(image.bands) +
                " bands and " + std::to_string(image.data.size()) + " bytes is not one");
  if (georeference.epsg != 0 && georeference.geo_keys.empty())
    usage_error(
        "a reference system's EPSG number alone makes no GeoTIFF; give its keys too, as "
        "make_georeference() does");
  if (georeference.epsg < 0 || georeference.epsg > 65535)
    usage_error("GeoTIFF has no place for the reference system EPSG:" +
                std::to_string(georeference.epsg));
}

}  // namespace

Georeference read_georeference(const TiffFile& file) {
  Georeference g;
  g.geo_keys = file.values<uint16_t>(tag_geo_keys);
  g.geo_doubles = file.values<double>(tag_geo_doubles);
  g.geo_ascii = file.text(tag_geo_ascii);
  g.epsg = g.epsg_of_keys();
  read_position(file, g);
  if (g.pixel_is_point()) shift(g, 0.5);
  return g;
}

Georeference read_georeference(const std::string& path) {
  if (is_netcdf(path)) return ice_georeference(path);
  const ImageFile file(path);
  if (!tiff_format.matches(file.start(16))) return {};
  return read_georeference(TiffFile(file));
}

bool is_called_tiff(const std::string& path) {
  const std::string extension = extension_of(path);
  return extension == ".tif" || extension == ".tiff";
}

void write_geotiff(const std::string& path, const Image& image, const Georeference& georeference,
                   std::optional<double> nodata, const ColourTable& colours) {
  check_writable(image, georeference);
  constexpr int64_t strip_bytes = 256 << 10;
  // Deflate may make data that don't compress a little larger.
  constexpr int64_t classic_bytes = int64_t{3900} << 20;
  const int64_t row_bytes = image.bytes() / image.height;
  const int64_t rows = std::clamp<int64_t>(strip_bytes / row_bytes, 1, image.height);
  TiffFile file(image.bytes() > classic_bytes, path);
  set_layout(file, image, static_cast<uint32_t>(rows));
  set_colours(file, image, colours);
  set_georeference(file, georeference);
  if (nodata) TIFFSetField(file.get(), tag_gdal_nodata, shortest_text(*nodata).c_str());
  // The tags first, then the strips: readers find the header in the file's first bytes. libtiff
  // fills the strips' places in when it closes the file.
  if (!TIFFWriteCheck(file.get(), 0, "write_geotiff") || !TIFFWriteDirectory(file.get()) ||
      !TIFFSetDirectory(file.get(), 0))
    file_error("cannot write '" + path + "': " + file.complaint());
  // Bytes of one band are maps. libtiff forgets the level with the directory.
  if (image.type == DType::u8 && image.bands == 1)
    TIFFSetField(file.get(), TIFFTAG_ZIPQUALITY, quick_level);
  std::vector<uint8_t> strip;
  for (int64_t row = 0; row < image.height; row += rows) {
    const int64_t bytes = std::min(rows, image.height - row) * row_bytes;
    const auto from = image.data.begin() + row * row_bytes;
    strip.assign(from, from + bytes);
    if (TIFFWriteEncodedStrip(file.get(), static_cast<uint32_t>(row / rows), strip.data(), bytes) !=
        bytes)
      file_error("cannot write '" + path + "': " + file.complaint());
  }
  if (!TIFFFlush(file.get())) file_error("cannot write '" + path + "': " + file.complaint());
  file.close();
  AtomicFile out(path);
  out.write(file.bytes().data(), file.bytes().size());
  out.commit();
}

}  // namespace fulmar::data

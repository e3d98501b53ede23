#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "data/tiff_file.h"
#include "data/tiff_pixels.h"

namespace fulmar::data {

namespace {

bool matches(Bytes start) {
  if (start.size() < 4) return false;
  constexpr char marks[4][5] = {"II*\0", "MM\0*", "II+\0", "MM\0+"};  // the last two: BigTIFF
  return std::any_of(std::begin(marks), std::end(marks),
                     [&](const char* mark) { return !std::memcmp(start.data(), mark, 4); });
}

struct Named {
  uint16_t value;
  const char* name;
};
// Named in messages, and never read: libtiff's own decoders differ on them from version to version.
constexpr Named strange_compressions[] = {{COMPRESSION_CCITTRLE, "CCITT run-length"},
                                          {COMPRESSION_CCITTRLEW, "CCITT run-length"},
                                          {COMPRESSION_CCITTFAX3, "CCITT group 3"},
                                          {COMPRESSION_OJPEG, "old-style JPEG"},
                                          {COMPRESSION_NEXT, "NeXT"},
                                          {COMPRESSION_THUNDERSCAN, "ThunderScan"},
                                          {COMPRESSION_PIXARFILM, "Pixar film"},
                                          {COMPRESSION_PIXARLOG, "Pixar log"},
                                          {COMPRESSION_JBIG, "JBIG"},
                                          {COMPRESSION_SGILOG, "LogLuv"},
                                          {COMPRESSION_SGILOG24, "LogLuv"},
                                          {COMPRESSION_JP2000, "JPEG 2000"},
                                          {34933, "PNG"},
                                          {50002, "JPEG XL"}};
constexpr Named known_compressions[] = {{COMPRESSION_NONE, "no"},
                                        {COMPRESSION_CCITTFAX4, "CCITT group 4"},
                                        {COMPRESSION_LZW, "LZW"},
                                        {COMPRESSION_JPEG, "JPEG"},
                                        {COMPRESSION_ADOBE_DEFLATE, "deflate"},
                                        {COMPRESSION_DEFLATE, "deflate"},
                                        {COMPRESSION_PACKBITS, "PackBits"},
                                        {COMPRESSION_LZMA, "LZMA"},
                                        {COMPRESSION_ZSTD, "Zstandard"},
                                        {COMPRESSION_WEBP, "WebP"},
                                        {COMPRESSION_LERC, "LERC"}};
constexpr Named strange_colours[] = {{PHOTOMETRIC_MASK, "a transparency mask"},
                                     {PHOTOMETRIC_SEPARATED, "CMYK"},
                                     {PHOTOMETRIC_CIELAB, "CIE L*a*b*"},
                                     {PHOTOMETRIC_ICCLAB, "ICC L*a*b*"},
                                     {PHOTOMETRIC_ITULAB, "ITU L*a*b*"},
                                     {PHOTOMETRIC_CFA, "a camera's raw picture"},
                                     {PHOTOMETRIC_LOGL, "LogL"},
                                     {PHOTOMETRIC_LOGLUV, "LogLuv"}};

template <size_t N>
const char* name_in(const Named (&list)[N], uint16_t value) {
  const auto* found = std::find_if(std::begin(list), std::end(list),
                                   [&](const Named& named) { return named.value == value; });
  return found == std::end(list) ? nullptr : found->name;
}

void check_compression(const TiffFile& file, uint16_t compression) {
  const char* name = name_in(known_compressions, compression);
  if (name && TIFFIsCODECConfigured(compression)) return;
  if (name)
    unsupported(file.name(), std::string("TIFF with ") + name +
                                 " compression, which this libtiff was built without,");
  name = name_in(strange_compressions, compression);
  unsupported(file.name(), name ? std::string("TIFF with ") + name + " compression"
                                : "TIFF with compression " + std::to_string(compression));
}

void check_samples(const TiffFile& file, const TiffLayout& t) {
  const auto one_of = [](uint16_t value, std::initializer_list<int> list) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  const std::string bits = std::to_string(t.bits) + "-bit ";
  if (t.format == SAMPLEFORMAT_COMPLEXIEEEFP || t.format == SAMPLEFORMAT_COMPLEXINT)
    unsupported(file.name(), "TIFF of complex samples (a single-look complex scene?)");
  if (t.format == SAMPLEFORMAT_IEEEFP && !one_of(t.bits, {32, 64}))
    unsupported(file.name(), "TIFF of " + bits + "floating point samples");
  if (t.format == SAMPLEFORMAT_INT && !one_of(t.bits, {8, 16, 32}))
    unsupported(file.name(), "TIFF of " + bits + "signed samples");
  if (one_of(t.format, {SAMPLEFORMAT_UINT, SAMPLEFORMAT_VOID}) &&
      !one_of(t.bits, {1, 2, 4, 8, 16, 32}))
    unsupported(file.name(), "TIFF of " + bits + "samples");
  if (t.format < SAMPLEFORMAT_UINT || t.format > SAMPLEFORMAT_COMPLEXIEEEFP)
    unsupported(file.name(), "TIFF with sample format " + std::to_string(t.format));
}

void check_colours(const TiffFile& file, const TiffLayout& t) {
  if (t.photometric == PHOTOMETRIC_YCBCR) {
    if (t.compression != COMPRESSION_JPEG)
      unsupported(file.name(), "TIFF of YCbCr colours without JPEG compression");
  } else if (t.photometric > PHOTOMETRIC_PALETTE) {
    const char* name = name_in(strange_colours, t.photometric);
    unsupported(file.name(), std::string("TIFF of ") +
                                 (name ? name : "photometric " + std::to_string(t.photometric)));
  }
  if (t.palette() && (t.bands.size() != 1 || t.bits > 8 || t.format != SAMPLEFORMAT_UINT))
    unsupported(file.name(), "TIFF of palette colours in more than 8 bits");
}

// The samples that are not transparency.
std::vector<uint16_t> bands_of(const TiffFile& file, uint16_t samples) {
  uint16_t extra = 0;
  const uint16_t* kinds = nullptr;
  if (!TIFFGetField(file.get(), TIFFTAG_EXTRASAMPLES, &extra, &kinds) || extra > samples) extra = 0;
  std::vector<uint16_t> bands;
  for (uint16_t sample = 0; sample < samples; sample++) {
    const uint16_t kind =
        sample < samples - extra ? EXTRASAMPLE_UNSPECIFIED : kinds[sample - (samples - extra)];
    if (kind != EXTRASAMPLE_ASSOCALPHA && kind != EXTRASAMPLE_UNASSALPHA) bands.push_back(sample);
  }
  return bands;
}

// The number that a text begins with, as GDAL's CPLAtofM() reads it: spaces before it are skipped,
// the first of . and , is the decimal point, what follows the number doesn't count.
std::optional<double> number_of(std::string text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  text.erase(0, begin);
  if (text[0] == '+') text.erase(0, 1);
  const size_t comma = text.find_first_of(".,");
  if (comma != std::string::npos) text[comma] = '.';
  const bool minus = !text.empty() && text[0] == '-';
  // As older C libraries of Windows write what is not finite.
  if (text.substr(minus, 3) == "1.#") {
    if (text.substr(minus, 4) != "1.#I" || text.substr(minus, 6) == "1.#IND") return std::nan("");
    return minus ? -HUGE_VAL : HUGE_VAL;
  }
  double value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) return {};
  return value;
}

void read_nodata(const TiffFile& file, TiffLayout& t) {
  std::string text = file.text(tag_gdal_nodata);
  t.nodata = number_of(text);
  if (t.nodata || text.find_first_not_of(" \t\r\n") == std::string::npos) return;
  text.resize(std::min<size_t>(text.size(), 40));
  for (char& c : text)
    if (c < 0x20 || c > 0x7e) c = '?';
  t.remarks.push_back("its nodata value '" + text +
                      "' is no number and is passed over; write it anew (gdal_edit.py -a_nodata)");
}

// Bands that were written as pages: software for microscopes and TIFF in general does so.
void look_at_second_page(const TiffFile& file, TiffLayout& t) {
  if (TIFFLastDirectory(file.get())) return;
  const TiffFile second(file.file());  // so that what is wrong with it is not said of the first
  if (!TIFFSetDirectory(second.get(), 1)) return;
  const auto kind = second.value<uint32_t>(TIFFTAG_SUBFILETYPE, 0);
  if ((kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) != 0 ||
      second.value<uint32_t>(TIFFTAG_IMAGEWIDTH, 0) != t.width ||
      second.value<uint32_t>(TIFFTAG_IMAGELENGTH, 0) != t.height)
    return;
  t.remarks.emplace_back(
      "it has more than one page of one size, and only the first is read; if the pages are bands, "
      "write them as one page (tifffile: planarconfig='separate'), or each as a file (--bands)");
}

TiffLayout layout_of(const TiffFile& file) {
  TiffLayout t;
  t.width = file.value<uint32_t>(TIFFTAG_IMAGEWIDTH, 0);
  t.height = file.value<uint32_t>(TIFFTAG_IMAGELENGTH, 0);
  t.samples = file.value<uint16_t>(TIFFTAG_SAMPLESPERPIXEL, 1);
  t.bits = file.value<uint16_t>(TIFFTAG_BITSPERSAMPLE, 1);
  t.format = file.value<uint16_t>(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
  t.compression = file.value<uint16_t>(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  t.photometric = file.value<uint16_t>(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
  t.planar = t.samples > 1 && file.value<uint16_t>(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) ==
                                  PLANARCONFIG_SEPARATE;
  check_compression(file, t.compression);
  check_samples(file, t);
  t.bands = bands_of(file, t.samples);
  if (t.bands.empty()) file.fail("all of its samples are transparency");
  if (t.samples > 2 * t.bands.size()) file.fail("most of its samples are transparency");
  check_colours(file, t);
  if (t.photometric == PHOTOMETRIC_YCBCR)
    TIFFSetField(file.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  t.tiled = TIFFIsTiled(file.get());
  if (t.tiled) {
    t.block_width = file.value<uint32_t>(TIFFTAG_TILEWIDTH, 0);
    t.block_height = file.value<uint32_t>(TIFFTAG_TILELENGTH, 0);
  } else {
    t.block_width = t.width;
    t.block_height = std::min(file.value<uint32_t>(TIFFTAG_ROWSPERSTRIP, UINT32_MAX), t.height);
  }
  if (!t.palette()) read_nodata(file, t);  // else it would be a number of the palette
  look_at_second_page(file, t);
  return t;
}

ImageHeader probe(const ImageFile& file) { return header_of(layout_of(TiffFile(file))); }

Image decode(const ImageFile& file, const ImageHeader&, const PicturePart& part,
             uint64_t memory_bytes) {
  const TiffFile tiff(file);
  return decode_tiff_pixels(tiff, layout_of(tiff), part, memory_bytes);
}

}  // namespace

Image stored_tiff(const ImageFile& file, const PicturePart& part, uint64_t memory_bytes) {
  const TiffFile tiff(file);
  TiffLayout layout = layout_of(tiff);
  if (layout.palette()) read_nodata(tiff, layout);
  if (layout.palette() || layout.inverted()) layout.photometric = PHOTOMETRIC_MINISBLACK;
  Image image = decode_tiff_pixels(tiff, layout, part, memory_bytes);
  if (layout.bits >= 8 || image.type != DType::u8) return image;
  const int steps = 255 / ((1 << layout.bits) - 1);  // that they were stretched by
  for (uint8_t& value : image.data) value = static_cast<uint8_t>(value / steps);
  if (image.nodata) *image.nodata /= steps;
  return image;
}

extern const ImageFormat tiff_format{"TIFF", ".tif .tiff", matches, probe, decode};

}  // namespace fulmar::data

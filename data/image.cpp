#include "data/image.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "data/image_format.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

constexpr std::array<const ImageFormat*, 4> formats{&png_format, &jpeg_format, &bmp_format,
                                                    &tiff_format};

std::string first_bytes(Bytes file) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : file.first(std::min<size_t>(file.size(), 8))) {
    if (!text.empty()) text += ' ';
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

// What a file may be that is no picture of ours, by its first bytes.
std::string kind_of(Bytes file) {
  constexpr std::pair<std::string_view, const char*> kinds[] = {
      {"P1", "Netpbm"},
      {"P2", "Netpbm"},
      {"P3", "Netpbm"},
      {"P4", "Netpbm"},
      {"P5", "Netpbm"},
      {"P6", "Netpbm"},
      {"GIF8", "GIF"},
      {"RIFF", "WebP, or another RIFF file"},
      {"\x89HDF", "HDF5 or NetCDF"},
      {"CDF", "NetCDF"},
      {"<VRTDataset", "a GDAL VRT"},
      {"%PDF", "PDF"},
      {"%!PS", "PostScript"},
      {"PK\3\4", "a ZIP archive"},
      {{"\0\0\0\xcjP", 6}, "JPEG 2000"},
      {"\xff\x4f\xff\x51", "JPEG 2000"}};
  const std::string_view start(reinterpret_cast<const char*>(file.data()), file.size());
  for (const auto& [mark, name] : kinds)
    if (start.substr(0, mark.size()) == mark) return std::string("it seems to be ") + name;
  return "it starts with the bytes " + first_bytes(file);
}

const ImageFormat& format_of(Bytes start, const std::string& name) {
  if (start.empty()) file_error(name + ": the file is empty; replace or remove it");
  for (const ImageFormat* format : formats)
    if (format->matches(start)) return *format;
  file_error(name + ": not a picture in a format that is read (" + image_formats() +
             "): " + kind_of(start) + "; convert it to PNG or TIFF, or remove it");
}

void check_limits(const ImageHeader& header, const std::string& name, const ImageLimits& limits) {
  if (header.height < 1 || header.width < 1)
    damaged(name, "its header says " + std::to_string(header.width) + " x " +
                      std::to_string(header.height) + " pixels");
  const int64_t times = (header.bands + 2) / 3;
  if (header.height > limits.max_pixels / header.width / times)
    file_error(name + ": its header says " + std::to_string(header.width) + " x " +
               std::to_string(header.height) + " pixels" +
               (times > 1 ? " of " + std::to_string(header.bands) + " bands" : "") +
               ", more than the limit of " + std::to_string(limits.max_pixels) +
               "; raise the limit (--max-pixels), or cut the picture into parts");
}

// No format here takes more than 24 bytes (three bands of float64) for what counts as a pixel,
// notes, pyramids and further pages aside.
uint64_t largest_file(const ImageLimits& limits) {
  return static_cast<uint64_t>(limits.max_pixels) * 24 + (uint64_t{64} << 20);
}

const ImageFormat& format_of(const ImageFile& file) {
  return format_of(file.start(16), file.name());
}

void check_lines(const std::vector<int64_t>& lines, int64_t extent, const char* what) {
  if (lines.empty() || lines.front() < 0 || lines.back() >= extent ||
      !std::is_sorted(lines.begin(), lines.end()))
    usage_error(std::string("the ") + what + " asked for are not " + what + " of a picture with " +
                std::to_string(extent) + ", ascending");
}

Image decode(const ImageFile& file, const ImageLimits& limits, const PicturePart& part) {
  const ImageFormat& format = format_of(file);
  const ImageHeader header = format.probe(file);
  check_limits(header, file.name(), limits);
  if (!part.whole() || !part.columns.empty()) {
    check_lines(part.rows, header.height, "rows");
    check_lines(part.columns, header.width, "columns");
  }
  return format.decode(file, header, part, limits.memory_bytes);
}

}  // namespace

void require_memory(uint64_t bytes, uint64_t memory_bytes, const std::string& name) {
  constexpr uint64_t mib = uint64_t{1} << 20;
  if (bytes > memory_bytes)
    file_error(name + ": decoding it takes " + std::to_string(bytes / mib) +
               " MiB of memory, and there are " + std::to_string(memory_bytes / mib) +
               "; cut the picture into parts, or use a machine with more memory");
}

void damaged(const std::string& name, const std::string& what) {
  file_error(name + ": the file is damaged or cut short: " + what +
             "; fetch it again, or remove it");
}

void unsupported(const std::string& name, const std::string& what) {
  file_error(
      name + ": " + what +
      " is not read; convert it to an 8- or 16-bit PNG, or to a TIFF of these or of float32");
}

std::string extension_of(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  for (char& letter : extension)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  return extension;
}

Image decode_image(Bytes file, const std::string& name, const ImageLimits& limits,
                   const PicturePart& part) {
  return decode(ImageFile(file, name), limits, part);
}

Image read_image(const std::string& path, const ImageLimits& limits, const PicturePart& part) {
  return decode(ImageFile(path, largest_file(limits)), limits, part);
}

ImageHeader probe_image(const std::string& path, const ImageLimits& limits) {
  const ImageFile file(path, largest_file(limits));
  ImageHeader header = format_of(file).probe(file);
  check_limits(header, path, limits);
  return header;
}

PicturePart window(int64_t top, int64_t left, int64_t height, int64_t width) {
  PicturePart part;
  for (int64_t row = 0; row < height; row++) part.rows.push_back(top + row);
  for (int64_t column = 0; column < width; column++) part.columns.push_back(left + column);
  return part;
}

Image cut(Image image, const PicturePart& part) {
  if (part.whole()) return image;
  Image result;
  static_cast<ImageHeader&>(result) = image;
  result.dropped_alpha = image.dropped_alpha;
  result.height = std::ssize(part.rows);
  result.width = std::ssize(part.columns);
  result.data.resize(static_cast<size_t>(result.bytes()));
  const auto pixel = static_cast<size_t>(image.bands) * size_of(image.type);
  // Columns that follow one another are copied together.
  struct Run {
    int64_t first, count;
  };
  std::vector<Run> runs;
  for (const int64_t column : part.columns) {
    if (runs.empty() || column != runs.back().first + runs.back().count)
      runs.push_back({column, 0});
    runs.back().count++;
  }
  uint8_t* to = result.data.data();
  for (const int64_t row : part.rows)
    for (const Run& run : runs) {
      const size_t bytes = static_cast<size_t>(run.count) * pixel;
      std::memcpy(to,
                  image.data.data() + static_cast<size_t>(row * image.width + run.first) * pixel,
                  bytes);
      to += bytes;
    }
  return result;
}

bool looks_like_image(const std::string& path) {
  const std::string extension = extension_of(path);
  // What GDAL keeps beside a picture: pyramids and masks, TIFFs themselves.
  if (extension == ".ovr" || extension == ".msk") return false;
  if (extension.size() > 1)
    for (const ImageFormat* format : formats) {
      const std::string known = std::string(format->extensions) + " ";
      if (known.find(extension + " ") != std::string::npos) return true;
    }
  try {
    const ImageFile file(path);
    const Bytes start = file.start(16);
    return std::any_of(formats.begin(), formats.end(),
                       [&](const ImageFormat* format) { return format->matches(start); });
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) throw;
    return false;
  }
}

std::string image_formats() {
  std::string text;
  for (const ImageFormat* format : formats)
    text += (text.empty() ? "" : ", ") + std::string(format->name);
  return text;
}

}  // namespace fulmar::data

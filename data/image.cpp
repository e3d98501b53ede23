#include "data/image.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "data/image_format.h"
#include "engine/file.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

constexpr std::array<const ImageFormat*, 4> formats{&png_format, &jpeg_format, &bmp_format,
                                                    &tiff_format};

// Enough for the header behind a camera's usual notes; else the whole file is read.
constexpr uint64_t probe_bytes = 128 << 10;

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

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

std::string read_start(const std::string& path, uint64_t bytes) {
  InputFile file(path);
  std::string start(std::min(bytes, file.bytes()), '\0');
  file.read(start.data(), start.size());
  return start;
}

}  // namespace

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

Image decode_image(Bytes file, const std::string& name, const ImageLimits& limits) {
  const ImageFormat& format = format_of(file, name);
  ImageHeader header;
  format.probe(file, true, name, header);
  check_limits(header, name, limits);
  return format.decode(file, name, header);
}

Image read_image(const std::string& path, const ImageLimits& limits) {
  format_of(bytes_of(read_start(path, 16)), path);
  return decode_image(bytes_of(read_file(path, largest_file(limits))), path, limits);
}

ImageHeader probe_image(const std::string& path, const ImageLimits& limits) {
  std::string start = read_start(path, probe_bytes);
  const ImageFormat& format = format_of(bytes_of(start), path);
  ImageHeader header;
  if (!format.probe(bytes_of(start), start.size() < probe_bytes, path, header)) {
    start = read_file(path, largest_file(limits));
    format.probe(bytes_of(start), true, path, header);
  }
  check_limits(header, path, limits);
  return header;
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
  std::string start;
  try {
    start = read_start(path, 16);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) throw;
    return false;
  }
  return std::any_of(formats.begin(), formats.end(),
                     [&](const ImageFormat* format) { return format->matches(bytes_of(start)); });
}

std::string image_formats() {
  std::string text;
  for (const ImageFormat* format : formats)
    text += (text.empty() ? "" : ", ") + std::string(format->name);
  return text;
}

}  // namespace fulmar::data

#include "tools/results.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/console.h"
#include "tools/memory.h"
#include "tools/table.h"

namespace fulmar::tools {

double threshold_of(const model::Classification& task, double asked) {
  if (asked < 0) return task.threshold;
  if (task.classes.size() != 2)
    usage_error("--threshold goes with two classes, and the model has " +
                std::to_string(task.classes.size()) + ": leave it out");
  return asked;
}

double shortest(double value) {
  const auto narrow = static_cast<float>(value);
  if (!std::isfinite(value) || static_cast<double>(narrow) != value) return value;
  std::array<char, 64> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), narrow).ptr;
  std::from_chars(text.data(), end, value);
  return value;
}

std::string number_text(double value) {
  std::array<char, 64> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), shortest(value)).ptr};
}

int64_t customary_batch(const Preprocess& preprocess) {
  constexpr int64_t pixels = 4 << 20, longest = 64;
  return std::clamp<int64_t>(pixels / (preprocess.crop * preprocess.crop), 1, longest);
}

CLI::Option* add_scenes(CLI::App& app, std::string& value) {
  return add_choice(
      app, "--scenes", value, {"name", "prefix", "file"},
      "Pictures of one scene stay on one side of a split. name: of Sentinel-1's names satellite,\n"
      "start and data take, of others what is before the first _ unless it is the class or the\n"
      "same throughout; prefix: always that; file: each picture is its own (default name)");
}

CLI::Option* add_bands(CLI::App& app, std::optional<std::string>& value,
                       const std::string& otherwise) {
  return app
      .add_option("--bands", value,
                  "The files of a sample, which share what * stands for and lie in one folder:\n"
                  "\"*_VV.tif,*_VH.tif\"; none: a file is a sample " +
                      otherwise)
      ->type_name("A,B,...");
}

data::BandFiles band_files_of(const std::optional<std::string>& asked,
                              const Preprocess& preprocess) {
  return asked ? data::BandFiles::parse(*asked) : data::BandFiles(preprocess.files);
}

void AlphaNote::say_if(bool dropped) {
  if (!dropped || said_) return;
  note("transparency of some pictures is left out");
  said_ = true;
}

data::ImageLimits image_limits(int64_t max_pixels) { return {max_pixels, memory_left()}; }

CLI::Option* add_max_pixels(CLI::App& app, int64_t& value) {
  return add_integer(
      app, "--max-pixels", value, 1, INT64_MAX,
      "Larger pictures are refused before they are read (default " + with_separators(value) + ")");
}

std::string csv_row(const std::vector<std::string>& cells) {
  std::string row;
  for (const std::string& cell : cells) {
    if (&cell != &cells.front()) row += ",";
    if (cell.find_first_of(",\"\r\n") == std::string::npos) {
      row += cell;
      continue;
    }
    row += '"';
    for (char c : cell) row += c == '"' ? std::string("\"\"") : std::string(1, c);
    row += '"';
  }
  return row + "\n";
}

std::string last_part(const std::string& path) {
  std::filesystem::path p = std::filesystem::path(path).lexically_normal();
  if (p.filename().empty()) p = p.parent_path();
  return p.filename().string();
}

std::string crc32c_of_file(const std::string& path) {
  InputFile file(path);
  std::string piece(size_t{1} << 20, '\0');
  uint32_t crc = 0;
  for (uint64_t left = file.bytes(); left > 0;) {
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(left, piece.size()));
    file.read(piece.data(), bytes);
    crc = crc32c(piece.data(), bytes, crc);
    left -= bytes;
  }
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(crc));
  return digits;
}

}  // namespace fulmar::tools

#include "tools/run/results.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/run/memory.h"

namespace fulmar::tools {

double threshold_of(const model::Classification& task, double asked) {
  if (asked < 0) return task.threshold;
  if (task.classes.size() != 2)
    usage_error("--threshold goes with two classes, and the model has " +
                std::to_string(task.classes.size()) + ": leave it out");
  return asked;
}

int64_t customary_batch(const Preprocess& preprocess) {
  constexpr int64_t pixels = 4 << 20, longest = 64;
  return std::clamp<int64_t>(pixels / (preprocess.crop * preprocess.crop), 1, longest);
}

data::BandFiles band_files_of(const std::optional<std::string>& asked,
                              const Preprocess& preprocess) {
  return asked ? data::BandFiles::parse(*asked) : data::BandFiles(preprocess.files);
}

data::ImageLimits image_limits(int64_t max_pixels) { return {max_pixels, memory_left()}; }

Spread spread_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Spread spread;
  for (const double value : values) spread.mean += value;
  spread.mean /= n;
  for (const double value : values) spread.deviation += std::pow(value - spread.mean, 2);
  spread.deviation = std::sqrt(spread.deviation / (n - 1));  // 0 / 0 of one value
  return spread;
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

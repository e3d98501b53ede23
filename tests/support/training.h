#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "model/metrics_csv.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"

namespace fulmar::test {

// Pictures of noise to train on, `data`/CLASS/*.bmp, and a folder for runs.
struct TrainingFiles {
  TempFolder folder;
  std::string data = folder.path("data"), run = folder.path("run");

  explicit TrainingFiles(const std::vector<std::string>& classes = {"neg", "pos"},
                         uint32_t of_each = 12, int side = 16) {
    for (const std::string& name : classes)
      for (uint32_t i = 0; i < of_each; i++)
        save_picture(data + "/" + name + "/" + std::to_string(100 + i) + ".bmp", side,
                     i + 1000 * static_cast<uint32_t>(&name - classes.data()));
  }

  // Options of a training of a fraction of a second, and `more` behind them.
  std::vector<std::string> arguments(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"train",    data,  "--out",   run, "--crop",    "16",
                                 "--widths", "4,8", "--batch", "8", "--augment", "none"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

inline std::string contents(const std::string& path) { return read_file(path, 1 << 26); }

inline nlohmann::ordered_json json_in(const std::string& path) {
  return nlohmann::ordered_json::parse(contents(path));
}

// A model file's bytes behind its header, which holds the wall clock.
inline std::string tensors_in(const std::string& path) {
  const std::string bytes = contents(path);
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  return bytes.substr(sizeof header + header);
}

inline std::vector<double> column(const std::string& run, const std::string& name) {
  const model::MetricsTable table = model::read_metrics_csv(run + "/metrics.csv");
  std::vector<double> values;
  for (size_t i = 0; i < table.columns.size(); i++)
    if (table.columns[i] == name)
      for (const std::vector<double>& row : table.rows) values.push_back(row[i]);
  return values;
}

inline size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) count++;
  return count;
}

}  // namespace fulmar::test

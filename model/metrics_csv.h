#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/io/file.h"

namespace fulmar::model {

// metrics.csv of a run: a header line, then lines of numbers with enough digits to be read back to
// the same bits; "nan" where there is none. One of the columns is "step".
class MetricsCsv {
 public:
  // Opens or begins the file. Cuts away lines of steps above `keep_through`, and everything from
  // the first line on that is incomplete or not numbers, as a killed program leaves it. Error(file)
  // where it has other columns; Error(usage) without a column "step".
  MetricsCsv(const std::string& path, const std::vector<std::string>& columns,
             int64_t keep_through);

  // One number for each column.
  void append(std::span<const double> row);
  void sync() { file_.sync(); }

 private:
  AppendFile file_;
  size_t columns_;
};

struct MetricsTable {
  std::vector<std::string> columns;
  std::vector<std::vector<double>> rows;
};

// All lines before the first incomplete one. Error(file) where there is no header.
MetricsTable read_metrics_csv(const std::string& path);

}  // namespace fulmar::model

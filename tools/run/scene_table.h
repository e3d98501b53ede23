#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/pictures.h"
#include "engine/context.h"
#include "tools/run/csv_table.h"
#include "tools/run/observer.h"

namespace fulmar::tools {

// A number for each picture of a dataset, in its order.
struct SceneColumn {
  std::string name;
  std::string meaning;  // for people
  std::vector<double> values{};
};

// What is known of the scenes of a dataset beside their pictures.
class SceneTable {
 public:
  // The table `path`; where that is empty the index.csv that `fulmar synth` left in `folder`, in
  // the dataset's folder or above it, and none where it didn't. Error(file) as read_csv_table.
  SceneTable(const std::string& path, const std::string& folder, const data::Dataset& dataset);

  // Whether `fulmar synth` made the scenes: its record, synth.json, lies with them.
  bool generated() const { return generated_; }
  std::string path() const { return table_ ? table_->path : ""; }

  // The columns asked for, or of `usual` those that there are. `nodata` is measured in the pictures
  // and `hidden` is 1 - visible, unless the table has them. Error(usage): an unknown column, or a
  // given table without a usual one, with those that there are. Error(file): a picture without a
  // row or with two that differ, a cell that is no number. Error(cancelled).
  static const std::vector<std::string>& usual();
  std::vector<SceneColumn> columns(const std::vector<std::string>& asked,
                                   const data::Dataset& dataset, const data::Pictures& pictures,
                                   Context& context, Observer& observer) const;

 private:
  bool has(const std::string& column) const;
  std::vector<size_t> rows_of(const data::Dataset& dataset) const;
  std::string known_columns() const;

  std::optional<CsvTable> table_;
  bool given_;  // by its path
  bool generated_ = false;
};

// The share of a picture's pixels without data: all bands NaN or nodata or, of whole numbers
// without a nodata value, 0. Error(usage): another element type.
double nodata_share(const data::Image& image);

}  // namespace fulmar::tools

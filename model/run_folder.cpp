#include "model/run_folder.h"

#include <chrono>

#include "engine/file.h"

namespace fulmar::model {
namespace {

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

RunFolder::RunFolder(std::string path) : path_(std::move(path)) { make_folders(path_); }

void RunFolder::open(const std::vector<std::string>& columns, int64_t keep_through) {
  csv_ = std::make_unique<MetricsCsv>(metrics(), columns, keep_through);
  events_ = std::make_unique<EventFile>(events(), keep_through, wall_time_s());
}

void RunFolder::append(int64_t step, const NamedValues& metrics) {
  std::vector<double> row;
  std::vector<Scalar> scalars;
  for (const auto& [name, value] : metrics) {
    row.push_back(value);
    if (name != "step") scalars.push_back({name, static_cast<float>(value)});
  }
  csv_->append(row);
  events_->add(step, scalars, wall_time_s());
  csv_->sync();
  events_->sync();
}

}  // namespace fulmar::model

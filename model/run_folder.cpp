#include "model/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>

#include "engine/io/file.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "model/metrics_csv.h"
#include "model/tfevents.h"

namespace fulmar::model {

namespace fs = std::filesystem;

namespace {

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// "process 4711 on buoy since 2026-03-01T12:34:56Z".
std::string this_process() {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0 || !host[0]) std::strcpy(host, "this machine");
  return "process " + std::to_string(::getpid()) + " on " + host + " since " + utc_now();
}

}  // namespace

RunFolder::RunFolder(std::string path) : path_(std::move(path)) {}
RunFolder::~RunFolder() = default;

std::string RunFolder::hold() {
  if (lock_) return "";
  create();
  lock_ = std::make_unique<LockFile>(lock(), this_process());
  const std::string text = lock_->text();
  if (lock_->state() == LockFile::State::others) {
    lock_.reset();
    file_error(path_ + " is in use by " + (text.empty() ? "another process" : text) +
               ": wait until that has ended, or train into another folder");
  }
  if (lock_->state() == LockFile::State::mine) return "";
  return path_ + ": the file system can't lock (" + text +
         "), so nothing keeps a second training out of this folder: don't start one";
}

bool RunFolder::begun() const {
  std::error_code ignored;
  for (const std::string& file : {config(), metrics(), events(), best(), last()})
    if (fs::exists(file, ignored)) return true;
  return false;
}

void RunFolder::create() {
  std::error_code ignored;
  for (fs::path p = path_; !p.empty() && !fs::exists(p, ignored); p = p.parent_path())
    made_.push_back(p);
  make_folders(path_);
}

void RunFolder::discard() noexcept {
  std::error_code ignored;
  if (fs::exists(best(), ignored) || fs::exists(last(), ignored)) return;
  csv_.reset();
  events_.reset();
  for (const std::string& file :
       {config(), metrics(), events(), convolutions(), pictures(), record(), report()})
    fs::remove(file, ignored);
  lock_.reset();
  for (const fs::path& folder : made_) fs::remove(folder, ignored);  // none that holds something
}

void RunFolder::check_history(int64_t epochs, int64_t keep_through) const {
  if (epochs == 0) return;
  const std::string remedy = ": put it back, or train into another folder";
  for (const std::string& file : {best(), metrics()})
    if (!fs::exists(file)) file_error(file + " is missing, which the run to resume wrote" + remedy);
  const MetricsTable table = read_metrics_csv(metrics());
  const auto step = std::find(table.columns.begin(), table.columns.end(), "step");
  const auto at = static_cast<size_t>(step - table.columns.begin());
  int64_t rows = 0;
  if (step != table.columns.end())
    for (const std::vector<double>& row : table.rows)
      if (row[at] <= static_cast<double>(keep_through)) rows++;
  if (rows != epochs)
    file_error(metrics() + " holds " + std::to_string(rows) + " of the " + std::to_string(epochs) +
               " epochs of the run to resume" + remedy);
}

void RunFolder::open(const std::vector<std::string>& columns, int64_t keep_through) {
  hold();
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

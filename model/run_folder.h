#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/api.h"
#include "model/named_values.h"

namespace fulmar {

class LockFile;

namespace model {

class MetricsCsv;
class EventFile;

// The folder of a training. The training writes config.json, metrics.csv, best.safetensors,
// last.safetensors and events.out.tfevents.fulmar. Programs add convolutions.txt (a GPU's
// algorithms), pictures.txt (digests of the pictures) and, for people, run.json, report.html,
// evaluation-NAME.json. While a process trains there, run.lock names it.
class FULMAR_API RunFolder {
 public:
  // Touches nothing on the disk.
  explicit RunFolder(std::string path);
  ~RunFolder();

  // Makes the folder where it is missing. Error(file) where that can't be done.
  void create();
  // Keeps the folder for this process while this object lives, and makes it where it is missing.
  // Error(file) naming the process that has it. Gives what a user must know where the file system
  // can't lock; else, and from the second call on, nothing.
  std::string hold();
  // Whether a run has left anything here.
  bool begun() const;
  // After a new run that failed: removes what it left, and the folders made for it, unless there
  // is a model.
  void discard() noexcept;
  // Error(file) where the best model is missing, or metrics of `epochs` epochs, the last of them at
  // step `keep_through`; it names the missing file.
  void check_history(int64_t epochs, int64_t keep_through) const;

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.json"; }
  std::string metrics() const { return path_ + "/metrics.csv"; }
  std::string events() const { return path_ + "/events.out.tfevents.fulmar"; }
  std::string best() const { return path_ + "/best.safetensors"; }
  std::string last() const { return path_ + "/last.safetensors"; }
  std::string convolutions() const { return path_ + "/convolutions.txt"; }
  std::string pictures() const { return path_ + "/pictures.txt"; }
  std::string lock() const { return path_ + "/run.lock"; }
  std::string record() const { return path_ + "/run.json"; }
  std::string report() const { return path_ + "/report.html"; }
  std::string evaluation(const std::string& name) const {
    return path_ + "/evaluation-" + name + ".json";
  }

  // Opens metrics and events, after hold(), and cuts away steps after `keep_through`.
  // Error(file) where that can't be done, or metrics.csv has other columns;
  // Error(usage) without a column "step".
  void open(const std::vector<std::string>& columns, int64_t keep_through);
  // One epoch's metrics, in the order of the columns; the column "step" is the events' step.
  // Error(file) where it can't be written.
  void append(int64_t step, const NamedValues& metrics);

 private:
  std::string path_;
  std::vector<std::filesystem::path> made_;  // folders that create() made, deepest first
  std::unique_ptr<LockFile> lock_;
  std::unique_ptr<MetricsCsv> csv_;
  std::unique_ptr<EventFile> events_;
};

}  // namespace model
}  // namespace fulmar
